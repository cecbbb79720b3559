//! The schedule in one-line strings: a plan, what happens, and what follows.
//!
//! What happens: `ok a`, `fail a`, `open a` (interrupted), `stop`. What follows, one part for the start and one for each
//! happening: `+b` is started, `c!a` is blocked by `a`.

use super::*;
use crate::toy;

fn follow(plan: &str, selected: &str, jobs: usize, script: &str) -> String {
    let graph = toy::graph(plan).expect("the test's plan is sound");
    let find = |id: &str| graph.find(id).expect("the script names nodes of the plan");
    let name = |node: usize| graph.nodes()[node].id.as_str();
    let is_selected = |id: &str| selected.is_empty() || selected.split(' ').any(|one| one == id);
    let selected: Vec<_> = graph.nodes().iter().map(|node| is_selected(node.id.as_str())).collect();
    let pools = BTreeMap::from([("disk".to_owned(), 2), ("net".to_owned(), 4)]);
    let weight = |node: usize| graph.nodes()[node].step.estimate();
    let mut schedule = Schedule::new(&graph, &selected, &Limits { jobs, pools }, weight);
    let mut told = vec![start(&mut schedule, name)];
    for happening in script.split("; ").filter(|happening| !happening.is_empty()) {
        let blocked = match happening.split_once(' ') {
            Some(("ok", id)) => schedule.applied(find(id), End::Well),
            Some(("fail", id)) => schedule.applied(find(id), End::Badly),
            Some(("open", id)) => schedule.applied(find(id), End::Open),
            _ => {
                schedule.stop();
                Vec::new()
            }
        };
        let blocked = blocked.iter().map(|blocked| format!("{}!{}", name(blocked.node), name(blocked.by)));
        let blocked = blocked.collect::<Vec<_>>().join(" ");
        told.push([blocked, start(&mut schedule, name)].join(" ").trim().to_owned());
    }
    if !schedule.unfinished() {
        told.push("end".to_owned());
    }
    told.join(" | ")
}

/// Starts all that may be started; every check says that the step is needed.
fn start<'a>(schedule: &mut Schedule<'_>, name: impl Fn(usize) -> &'a str) -> String {
    while let Some(node) = schedule.next_check() {
        schedule.needed(node);
    }
    let started = std::iter::from_fn(|| schedule.next_apply());
    started.map(|node| format!("+{}", name(node))).collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn check(plan: &str, jobs: usize, script: &str, expected: &str) {
    assert_eq!(follow(plan, "", jobs, script), expected, "{plan}: {script}");
}

#[test]
fn needs_come_first() {
    check("a b c:a,b", 9, "ok a; ok b; ok c", "+a +b |  | +c |  | end");
    check("a b:a c:b", 9, "ok a; ok b; ok c", "+a | +b | +c |  | end");
    check("b:a a", 9, "ok a; ok b", "+a | +b |  | end");
}

#[test]
fn a_failure_stops_what_needs_it_and_nothing_else() {
    check("a b c:a,b d:c e:b", 9, "ok a; fail b", "+a +b |  | c!b d!b e!b | end");
    check("a b:a? c:a~ d", 9, "fail a; ok c; ok d", "+a +d | b!a +c |  |  | end");
    check("a b c:a,b", 9, "fail a; fail b", "+a +b | c!a |  | end");
    check("a b:a c:b~", 9, "fail a; ok c", "+a | b!a +c |  | end");
    check("a b:a c:b+", 9, "fail a; ok c", "+a | b!a +c |  | end");
}

#[test]
fn the_longest_remaining_path_goes_first() {
    check("a b=5 c d:c e=9:d", 1, "ok c; ok d", "+c | +d | +e");
    check("a=1 b=3 c=2", 2, "ok b; ok c", "+b +c | +a | ");
    check("a b c", 2, "ok b", "+a +b | +c");
}

#[test]
fn pools_limit_what_goes_on_together() {
    check("a@lock b@lock c", 9, "ok a; ok b", "+a +c | +b | ");
    check("a@disk b@disk c@disk", 9, "ok b", "+a +b | +c");
    check("a@disk*9 b@disk", 9, "ok a", "+a | +b");
    check("a@disk,disk b@disk", 9, "ok a", "+a | +b");
}

#[test]
fn a_large_claim_is_not_overtaken_for_ever() {
    check("a=9@disk b=8@disk*2 c=7@disk d=1", 9, "ok a; ok b", "+a +d | +b | +c");
}

#[test]
fn who_waits_for_one_pool_does_not_hold_another() {
    check("a=9@lock b=8@lock,net*4 c=1@net", 9, "ok c; ok a", "+a +c |  | +b");
    check("a=9@net*4 b=8@lock c=7@lock,net d=6@net*4", 9, "ok a; ok b", "+a +b | +d | ");
}

#[test]
fn after_a_stop_nothing_starts() {
    check("a b:a", 9, "stop; ok a", "+a |  |  | end");
    check("a b c", 1, "stop; open a", "+a |  |  | end");
}

#[test]
fn order_is_kept_through_what_is_not_selected() {
    let follow = |selected, script| follow("a b:a c:b d:c~", selected, 9, script);
    assert_eq!(follow("a c d", "ok a; ok c; ok d"), "+a | +c | +d |  | end");
    assert_eq!(follow("a c d", "fail a; ok d"), "+a | c!a +d |  | end");
    assert_eq!(follow("c", "ok c"), "+c |  | end");
}

/// Whatever is claimed and however it ends: pools are never overdrawn, and something goes on until all has ended.
#[test]
fn any_plan_comes_to_its_end() {
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let plan = random_plan(&mut random);
        let graph = toy::graph(&plan).expect("needs point backwards");
        let pools = BTreeMap::from([("p0".to_owned(), 3), ("p1".to_owned(), 2)]);
        let selected = vec![true; graph.nodes().len()];
        let limits = Limits { jobs: 4, pools };
        let mut schedule =
            Schedule::new(&graph, &selected, &limits, |node| graph.nodes()[node].step.estimate());
        let (mut running, mut ended) = (Vec::new(), 0);
        while schedule.unfinished() {
            while let Some(node) = schedule.next_check() {
                schedule.needed(node);
            }
            running.extend(std::iter::from_fn(|| schedule.next_apply()));
            assert!(!running.is_empty() && running.len() <= 4, "seed {seed}: {plan}");
            for (pool, capacity) in [("p0", 3), ("p1", 2), ("p2", 1)] {
                let held = running.iter().flat_map(|node| graph.nodes()[*node].step.claims());
                let held = held.filter(|claim| claim.pool == pool).map(|claim| claim.weight.min(capacity));
                assert!(held.sum::<u32>() <= capacity, "seed {seed}: {plan}");
            }
            let node = running.swap_remove(random.usize(..running.len()));
            let end = if random.u8(..10) == 0 { End::Badly } else { End::Well };
            ended += 1 + schedule.applied(node, end).len();
        }
        assert_eq!(ended, graph.nodes().len(), "seed {seed}: {plan}");
    }
}

/// What of `plan` is taken at once with one job, when so many nodes may be taken ahead.
fn ahead(plan: &str, nodes: usize) -> String {
    let graph = toy::graph(plan).expect("the test's plan is sound");
    let weight = |node: usize| graph.nodes()[node].step.estimate();
    let limits = Limits { jobs: 1, pools: BTreeMap::new() };
    let selected = vec![true; graph.nodes().len()];
    let mut schedule = Schedule::new(&graph, &selected, &limits, weight);
    schedule.look_ahead(nodes);
    start(&mut schedule, |node| graph.nodes()[node].id.as_str())
}

#[test]
fn only_what_is_brief_is_taken_before_there_is_a_job_for_it() {
    assert_eq!(ahead("a=0 b=0 c=0 d=0", 0), "+a");
    assert_eq!(ahead("a=0 b=0 c=0 d=0", 2), "+a +b +c");
    // The longest goes first, and the next long one waits for a job, with all behind it.
    assert_eq!(ahead("a=0 b=90 c=80 d=0", 3), "+b");
    assert_eq!(ahead("a=0 b=90 c=0", 3), "+b +a +c");
}

fn random_plan(random: &mut fastrand::Rng) -> String {
    let words = (0..20).map(|node| {
        let needs: Vec<_> =
            (0..node).filter(|_| random.u8(..6) == 0).map(|need| format!("n{need}")).collect();
        let pools = (0..3).filter(|_| random.u8(..3) == 0).collect::<Vec<_>>();
        let claims = pools.iter().map(|pool| format!("p{pool}*{}", random.u8(1..5))).collect::<Vec<_>>();
        format!("n{node}={}:{}@{}", random.u8(1..9), needs.join(","), claims.join(","))
    });
    words.collect::<Vec<_>>().join(" ")
}
