//! A run as JUnit's XML, which Jenkins and its like show: a suite for each place, a test case for each of its steps.
//!
//! What was done, or was done already, has passed; what failed, or was cut short by a kill, has failed; what was not tried
//! is skipped, as is what has not ended yet. How programs of emulated systems were started is in properties of the test
//! case, of its suite, and, for the whole run, of each suite; warnings are what the test case has written on standard error.

use super::failure;
use anyhow::{Context, Result};
use drover_engine::{Remark, Report as Run};
use drover_state::{NodeId, Programs};
use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};
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
        let programs = run.programs_by_node.get(node);
        let counted = programs.map(Programs::to_string);
        let lines: Vec<_> = said(&run.remarks, node).chain(counted.as_deref()).collect();
        if !lines.is_empty() {
            case.set_system_out(lines.join("\n"));
        }
        let warnings: Vec<_> = said(&run.warnings, node).collect();
        if !warnings.is_empty() {
            case.set_system_err(warnings.join("\n"));
        }
        case.add_properties(programs.into_iter().flat_map(|programs| properties("programs", programs)));
        suites.entry(node.place()).or_default().push(case);
    }
    let mut report = Report::new(&run.plan);
    for (place, cases) in suites {
        let mut suite = TestSuite::new(place);
        suite.add_test_cases(cases);
        let of_place = run.programs_by_node.iter().filter(|(node, _)| node.place() == place);
        let mut sum = Programs::default();
        of_place.for_each(|(_, programs)| sum.add(programs));
        suite.add_properties(properties("programs", &sum).chain(properties("run.programs", &run.programs)));
        report.add_test_suite(suite);
    }
    report.to_string().context("the report cannot be written as XML")
}

/// What a node said.
fn said<'a>(remarks: &'a [Remark], node: &NodeId) -> impl Iterator<Item = &'a str> {
    remarks.iter().filter(move |remark| remark.node == *node).map(|remark| remark.text.as_str())
}

/// Counts of programs as properties; none if nothing was counted.
fn properties(name: &str, programs: &Programs) -> impl Iterator<Item = Property> {
    let counts = [("native", programs.native), ("emulated", programs.emulated)];
    let is_counted = programs.total() > 0;
    counts
        .into_iter()
        .filter(move |_| is_counted)
        .map(move |(kind, count)| Property::new(format!("{name}.{kind}"), count.to_string()))
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
    use drover_engine::{Blocked, Failed};
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
            remarks: vec![Remark { node: done.clone(), text: "by hand".to_owned() }],
            warnings: vec![Remark { node: done.clone(), text: "slowly".to_owned() }],
            programs: Programs { native: 7, emulated: 5, ..Programs::default() },
            programs_by_node: [(done, 3), (bad, 2)]
                .map(|(node, emulated)| {
                    (node.clone(), Programs { native: 3, emulated, ..Programs::default() })
                })
                .into(),
            ..Run::default()
        };
        let took = [host, done, bad].map(|node| (node, Duration::from_millis(1500))).into();
        let text = junit(&run, &ids, &took, &[cut.clone()].into()).expect("XML");
        for part in [
            "<testsuites name=\"p\" tests=\"6\" skipped=\"2\" failures=\"1\" errors=\"1\"",
            "<testsuite name=\"arm\" tests=\"5\" skipped=\"2\" errors=\"1\" failures=\"1\"",
            "<testcase name=\"done\" classname=\"p.arm\" time=\"1.500\"",
            "<system-out>by hand\n3 of 6 programs ran natively</system-out>",
            "<system-err>slowly</system-err>",
            "<property name=\"programs.native\" value=\"3\"/>",
            "<property name=\"programs.emulated\" value=\"2\"/>",
            "<property name=\"programs.native\" value=\"6\"/>",
            "<property name=\"run.programs.emulated\" value=\"5\"/>",
            "<failure message=\"no &lt;room&gt;\"",
            "not tried, because arm/bad failed",
            "killed in the middle",
        ] {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
        assert!(!text.contains(['\u{1b}', '\u{7}']), "{text}");
    }
}
