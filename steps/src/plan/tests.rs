//! What takes a look inside: the examples of manuals, and circles, which the steps that there are cannot make.

use super::graph::cycle;
use super::nodes::Nodes;
use super::outline::{Place, step};
use super::scan::scan_from;
use super::source::{Source, Span};
use super::typed::typed;
use crate::registry::{KINDS, Kind, Parse};
use drover_engine::{Link, Need, Resource};
use drover_state::NodeId;

/// Reads the ways of writing a step that an example shows, one below the other; says how many there are.
fn read(kind: &Kind, example: &str) -> usize {
    let source = Source::new(kind.name, example);
    let place = if let Parse::Host(_) = kind.parse { Place::Host } else { Place::Container };
    let (mut count, mut start, mut wrong) = (0, 0, Vec::new());
    while !example[start..].trim().is_empty() && wrong.is_empty() {
        count += 1;
        let Some(value) = scan_from(&source, start, &mut wrong) else { break };
        start = value.span.range.end;
        let Some(text) = step(&value, place, &mut wrong) else { break };
        assert_eq!(text.kind.name, kind.name);
        match text.kind.parse {
            Parse::Host(parse) => drop(typed(&text, parse, &mut wrong)),
            Parse::Container(parse) => drop(typed(&text, parse, &mut wrong)),
            Parse::Bootstrap => assert!(text.entries.is_empty()),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong[0]);
    count
}

#[test]
fn the_examples_in_every_manual_are_right() {
    for kind in KINDS {
        let manual = kind.manual();
        let examples = manual.split("```ron\n").skip(1).filter_map(|rest| rest.split("```").next());
        let count: usize = examples.map(|example| read(kind, example)).sum();
        assert!(count > 0, "the manual of {kind:?} shows how it is written");
    }
}

#[test]
fn a_circle_is_shown_whole() {
    let source = Source::new("farm.ron", "Plan(each: [Hen, Egg])");
    let mut nodes = Nodes::default();
    let mut link = |id: &str, step: &str, need: Need| {
        let at = source.text.find(step).expect("the step is in the text");
        nodes.spans.insert(NodeId::from(id), Span::new(&source, at..at + step.len()));
        Link { id: id.into(), origin: String::new(), need }
    };
    let egg = link("farm/hen", "Hen", Need::Must(Resource::new("egg", "white")));
    let hen = link("farm/egg", "Egg", Need::After("hen"));
    let shown = cycle(&nodes, &[egg, hen]).expect("both are in the text").to_string();
    let expected = "\
error: steps wait for each other: `farm/hen` waits for `farm/egg` waits for `farm/hen`
 --> farm.ron:1:13
  |
1 | Plan(each: [Hen, Egg])
  |             ^^^ needs egg `white`
 --> farm.ron:1:18
  |
1 | Plan(each: [Hen, Egg])
  |                  ^^^ comes after every hen
  = help: take one of these needs away";
    assert_eq!(shown, expected);
}

/// Ten times as many as a farm has by then. Were anything looked up by going through all of them, this would take minutes.
const MANY: usize = 60_000;

fn read_plan(text: &str) -> usize {
    let file = tempfile::NamedTempFile::with_suffix(".ron").expect("a file");
    std::fs::write(&file, text).expect("written");
    let loaded = super::load(file.path(), &super::Settings::default());
    loaded.map(|loaded| loaded.graph.nodes().len()).unwrap_or_else(|wrong| panic!("{}", wrong[0]))
}

#[test]
fn a_plan_of_very_many_steps_is_read() {
    let commands: String = (0..MANY)
        .map(|number| {
            let after = if number == 0 { String::new() } else { format!("\"host/command-c{}\"", number - 1) };
            format!(
                "Command(name: \"c{number}\", run: \"true\", creates: \"/c{number}\", after: [{after}]),\n"
            )
        })
        .collect();
    assert_eq!(read_plan(&format!("Plan(name: \"many\", host: [\n{commands}])")), MANY);
}

#[test]
fn a_container_with_very_many_steps_of_its_own_is_read() {
    let pair = include_str!("../../../plans/debian-pair.ron");
    let before = read_plan(pair);
    let commands: String = (0..MANY / 2)
        .map(|number| {
            format!("GuestCommand(name: \"c{number}\", run: \"true\", creates: \"/c{number}\", after: [\"GuestPackages\"]),\n")
        })
        .collect();
    let plan = pair.replacen("arch: [", &format!("steps: [\n{commands}], arch: ["), 1);
    assert_eq!(read_plan(&plan), before + MANY, "there are two containers");
}
