"use strict";
require("./script.js")("open.sh");
