//! The findings so far. Each is shown as soon as it is known.

use crate::{checks::finding::Finding, commands::findings::finding_text, ui::printer::Printer};
use std::cell::RefCell;

pub(super) struct ShownFindings<'a> {
    printer: &'a Printer,
    findings: RefCell<Vec<Finding>>,
}

impl<'a> ShownFindings<'a> {
    pub(super) fn new(printer: &'a Printer) -> Self {
        Self { printer, findings: RefCell::default() }
    }

    pub(super) fn add(&self, finding: Finding) {
        self.printer.result(&finding_text(&finding));
        self.findings.borrow_mut().push(finding);
    }

    pub(super) fn all(&self, findings: impl IntoIterator<Item = Finding>) {
        findings.into_iter().for_each(|finding| self.add(finding));
    }

    pub(super) fn into_findings(self) -> Vec<Finding> {
        self.findings.into_inner()
    }
}
