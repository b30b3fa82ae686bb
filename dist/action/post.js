"use strict";
require("./script.js")("close.sh");
