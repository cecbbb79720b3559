//! `drover graph`: the plan's nodes and what each waits for, in a language that draws.

use super::Planned;
use crate::args::{Graph as Options, GraphFormat};
use crate::exit::Exit;
use crate::output::{print, print_json};
use anyhow::Result;
use drover_engine::Edge;
use serde_json::json;
use std::fmt::Write;

/// Prints the graph of what is selected.
pub(crate) fn graph(options: &Options) -> Result<Exit> {
    let planned = Planned::load(&options.target)?;
    match options.format {
        GraphFormat::Dot => print(&dot(&planned))?,
        GraphFormat::Mermaid => print(&mermaid(&planned))?,
        GraphFormat::Json => print_json(&as_json(&planned))?,
    }
    Ok(Exit::Done)
}

/// An arrow of the picture: by index, from the node that comes first.
struct Arrow {
    from: usize,
    to: usize,
    edge: Edge,
}

/// Each pair once, the strongest reason first; only between selected nodes.
fn arrows(planned: &Planned) -> Vec<Arrow> {
    let mut arrows: Vec<Arrow> = Vec::new();
    for to in planned.selected() {
        for (from, edge) in planned.graph.before(to).filter(|(from, _)| planned.selection[*from]) {
            match arrows.iter_mut().rev().take_while(|arrow| arrow.to == to).find(|arrow| arrow.from == from)
            {
                Some(known) if edge == Edge::Must => known.edge = edge,
                Some(_) => {}
                None => arrows.push(Arrow { from, to, edge }),
            }
        }
    }
    arrows
}

fn dot(planned: &Planned) -> String {
    // Writing to a string cannot fail, here and below.
    let mut text = format!("digraph {:?} {{\n  rankdir=LR;\n  node [shape=box];\n", planned.name);
    for node in planned.selected() {
        let _ = writeln!(text, "  {:?};", planned.graph.nodes()[node].id.as_str());
    }
    for Arrow { from, to, edge } in arrows(planned) {
        let style = if edge.is_hard() { "" } else { " [style=dashed]" };
        let [from, to] = [from, to].map(|node| planned.graph.nodes()[node].id.as_str());
        let _ = writeln!(text, "  {from:?} -> {to:?}{style};");
    }
    text + "}"
}

fn mermaid(planned: &Planned) -> String {
    let mut text = "flowchart LR\n".to_owned();
    for node in planned.selected() {
        let _ = writeln!(text, "  n{node}[\"{}\"]", planned.graph.nodes()[node].id);
    }
    for Arrow { from, to, edge } in arrows(planned) {
        let line = if edge.is_hard() { "-->" } else { "-.->" };
        let _ = writeln!(text, "  n{from} {line} n{to}");
    }
    text
}

fn as_json(planned: &Planned) -> serde_json::Value {
    let id = |node: usize| planned.graph.nodes()[node].id.as_str();
    let arrows: Vec<_> = arrows(planned)
        .into_iter()
        .map(|arrow| json!({ "from": id(arrow.from), "to": id(arrow.to), "waits_only": !arrow.edge.is_hard() }))
        .collect();
    let nodes: Vec<_> = planned
        .selected()
        .map(|node| &planned.graph.nodes()[node])
        .map(|node| json!({ "id": node.id, "title": node.step.title(), "origin": node.origin }))
        .collect();
    json!({ "plan": planned.name, "nodes": nodes, "edges": arrows })
}
