//! What somebody is told who finds the state directory held: by which run, since when, and what that does now.

use crate::display::elapsed;
use drover_engine::Report;
use drover_state::{Event, EventKind, EventReader, Held, Holder, RunId, StateDir};

/// The refusal, with what the run that is on does now as far as that can be read.
pub(crate) fn held(held: &Held) -> String {
    let known = held.holder.as_ref().and_then(|holder| {
        let state = StateDir::existing(&held.state).ok()??;
        let run = holder.run?;
        Some((run, EventReader::new(&state, run).read().ok()?))
    });
    match (known, &held.holder) {
        (Some((run, events)), _) if !events.is_empty() => format!("{held}\n{}", doing(run, &events)),
        (_, Some(Holder { run: None, .. })) => format!("{held}\nit has not begun a run yet"),
        _ => held.to_string(),
    }
}

fn doing(run: RunId, events: &[Event]) -> String {
    let report = Report::of(events);
    let begun = events.first().map(|event| elapsed(event.age())).unwrap_or_default();
    let ended = report.selected.saturating_sub(report.pending());
    let started = |event: &Event| match &event.kind {
        EventKind::Started { node, .. } if report.open.contains(node) => {
            Some(format!("{node} (for {})", elapsed(event.age())))
        }
        _ => None,
    };
    let now: Vec<_> = events.iter().filter_map(started).collect();
    let now = if now.is_empty() { "nothing is being changed".to_owned() } else { now.join(", ") };
    format!(
        "it is run {run} of {}, on for {begun}, with {ended} of {} nodes at their end; now: {now}; `drover status` \
         shows it",
        report.plan, report.selected
    )
}
