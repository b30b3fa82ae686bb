//! The envelopes of answers and errors, which differ by service.

use crate::protocol::{errors::Refusal, service::Service, xml::Xml};
use serde_json::{Value, json};

const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// EC2 API reference, "Query requests"; STS API reference, sample responses.
pub(crate) fn of_answer(service: Service, action: &str, request_id: &str, xml: &Xml, json: Option<&Value>) -> String {
    let xml = xml.as_str();
    match service {
        Service::Ec2 => format!(
            "{DECLARATION}<{action}Response xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">\
             <requestId>{request_id}</requestId>{xml}</{action}Response>"
        ),
        Service::Sts => format!(
            "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
             <{action}Result>{xml}</{action}Result><ResponseMetadata><RequestId>{request_id}</RequestId>\
             </ResponseMetadata></{action}Response>"
        ),
        Service::Scheduler | Service::Waf => json.map(Value::to_string).unwrap_or_default(),
    }
}

/// *Errors*, "Example error response"; STS API reference, "Common errors".
pub(crate) fn of_refusal(service: Service, refusal: &Refusal, request_id: &str) -> String {
    let mut xml = Xml::default();
    xml.within("Error", |xml| {
        if service == Service::Sts {
            xml.text("Type", if refusal.status < 500 { "Sender" } else { "Receiver" });
        }
        xml.text("Code", &refusal.code);
        xml.text("Message", &refusal.message);
    });
    let error = xml.as_str();
    match service {
        Service::Ec2 => {
            format!("{DECLARATION}<Response><Errors>{error}</Errors><RequestID>{request_id}</RequestID></Response>")
        }
        Service::Sts => format!(
            "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">{error}\
             <RequestId>{request_id}</RequestId></ErrorResponse>"
        ),
        // REST and JSON: the code beside the words (Smithy, "AWS restJson1 protocol", error serialization).
        // WAF speaks awsJson1_1, with the same form of errors.
        Service::Scheduler | Service::Waf => json!({"__type": refusal.code, "Message": refusal.message}).to_string(),
    }
}
