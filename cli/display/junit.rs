//! A run as JUnit's XML, which Jenkins and its like show: a suite for each place, a test case for each of its steps.
//!
//! What was done, or was done already, has passed; what failed, or was cut short by a kill, has failed; what was not tried
//! is skipped, as is what has not ended yet.

use super::failure;
use anyhow::{Context, Result};
use drover_engine::Report as Run;
use drover_state::NodeId;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

/// The run's nodes, each with how long it took if it has ended; `cut_short` are those that a kill found in the middle.
pub(crate) fn junit(
    run: &Run,
    nodes: &[NodeId],
    took: &HashMap<&NodeId, Duration>,
    cut_short: &BTreeSet<NodeId>,
) -> Result<String> {
    let mut suites: BTreeMap<&str, Vec<TestCase>> = BTreeMap::new();
    for node in nodes {
        let mut case = match took.get(node) {
            Some(took) => {
                let mut case = TestCase::new(node.step(), TestCaseStatus::success());
                case.set_time(*took);
                case
            }
            None => TestCase::new(node.step(), skipped("not begun, or not at its end yet".to_owned())),
        };
        if let Some(status) = unhappy(run, node, cut_short) {
            case.status = status;
        }
        case.set_classname(format!("{}.{}", run.plan, node.place()));
        let remarks: Vec<_> = run.remarks.iter().filter(|remark| remark.node == *node).collect();
        if !remarks.is_empty() {
            case.set_system_out(
                remarks.iter().map(|remark| remark.text.as_str()).collect::<Vec<_>>().join("\n"),
            );
        }
        suites.entry(node.place()).or_default().push(case);
    }
    let mut report = Report::new(&run.plan);
    for (place, cases) in suites {
        let mut suite = TestSuite::new(place);
        suite.add_test_cases(cases);
        report.add_test_suite(suite);
    }
    report.to_string().context("the report cannot be written as XML")
}

/// What has become of a node that was not done.
fn unhappy(run: &Run, node: &NodeId, cut_short: &BTreeSet<NodeId>) -> Option<TestCaseStatus> {
    if let Some(failed) = run.failed.iter().find(|failed| failed.node == *node) {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        status.set_message(&failed.failure.message);
        if let Some(remedy) = &failed.failure.remedy {
            status.set_type(&remedy.class);
        }
        status.set_description(failure(node, &failed.failure));
        return Some(status);
    }
    if cut_short.contains(node) {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_message("the run was killed in the middle of it; the next one goes on with it");
        return Some(status);
    }
    if let Some(blocked) = run.blocked.iter().find(|blocked| blocked.node == *node) {
        return Some(skipped(format!("not tried, because {} failed", blocked.by)));
    }
    let is_interrupted = run.interrupted.contains(node);
    is_interrupted.then(|| skipped("interrupted; the next run goes on with it".to_owned()))
}

fn skipped(why: String) -> TestCaseStatus {
    let mut status = TestCaseStatus::skipped();
    status.set_message(why);
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use drover_engine::{Blocked, Failed, Remark};
    use drover_state::{Failure, Phase};

    #[test]
    fn each_end_of_a_node_has_its_place() {
        let ids = ["host/a", "arm/done", "arm/bad", "arm/blocked", "arm/cut", "arm/later"].map(NodeId::from);
        let [host, done, bad, blocked, cut, _] = &ids;
        let run = Run {
            plan: "p".to_owned(),
            failed: vec![Failed {
                node: bad.clone(),
                failure: Failure {
                    phase: Phase::Apply,
                    message: "no <room>".to_owned(),
                    causes: Vec::new(),
                    command: None,
                    status: None,
                    tail: vec!["\u{1b}[31mred\u{1b}[0m \u{7}".to_owned()],
                    log: None,
                    remedy: None,
                },
            }],
            blocked: vec![Blocked { node: blocked.clone(), by: bad.clone() }],
            remarks: vec![Remark { node: done.clone(), text: "assisted".to_owned() }],
            ..Run::default()
        };
        let took = [host, done, bad].map(|node| (node, Duration::from_millis(1500))).into();
        let text = junit(&run, &ids, &took, &[cut.clone()].into()).expect("XML");
        for part in [
            "<testsuites name=\"p\" tests=\"6\" skipped=\"2\" failures=\"1\" errors=\"1\"",
            "<testsuite name=\"arm\" tests=\"5\" skipped=\"2\" errors=\"1\" failures=\"1\"",
            "<testcase name=\"done\" classname=\"p.arm\" time=\"1.500\"",
            "<system-out>assisted</system-out>",
            "<failure message=\"no &lt;room&gt;\"",
            "not tried, because arm/bad failed",
            "killed in the middle",
        ] {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
        assert!(!text.contains(['\u{1b}', '\u{7}']), "{text}");
    }
}
