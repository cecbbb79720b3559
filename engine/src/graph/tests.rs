//! What the graph says of small plans, and how long a large one takes.

use super::Graph;
use crate::toy;

fn order(text: &str) -> String {
    let graph = toy::graph(text).expect("the test's graph is sound");
    let ids: Vec<_> = graph.order().iter().map(|node| graph.nodes()[*node].id.as_str()).collect();
    ids.join(" ")
}

fn errors(text: &str) -> Vec<String> {
    toy::graph(text)
        .map(|graph| graph.nodes().len())
        .expect_err("the test's graph is wrong")
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn order_is_that_of_the_plan_where_needs_leave_a_choice() {
    assert_eq!(order("a b c d"), "a b c d");
    assert_eq!(order("a:c b c"), "c a b");
    assert_eq!(order("a:b? b:z? c:a~"), "b a c");
    assert_eq!(order("a:c! b c"), "c a b");
}

#[test]
fn a_step_does_not_wait_for_itself() {
    assert_eq!(order("a:a? b:b~"), "a b");
}

#[test]
fn all_errors_come_at_once() {
    let expected = [
        "plan.ron:2: `a` is in the plan already, from plan.ron:1; remove or rename one of them",
        "plan.ron:3: `b` needs x `toy`, which no step of the plan provides; add the step that does",
        "steps wait for each other: `c -> d -> c`; remove one of these needs:\n  \
         plan.ron:4: `c` needs d `toy` of `d`\n  plan.ron:5: `d` comes after every c, such as that of `c`",
        "steps wait for each other: `e -> e`; remove one of these needs:\n  plan.ron:6: `e` needs e `toy` of `e`",
    ];
    assert_eq!(errors("a a b:x c:d d:c~ e:e"), expected);
    let expected = [
        "plan.ron:3: `c` comes after `d`, which is no step of the plan",
        "steps wait for each other: `a -> b -> a`; remove one of these needs:\n  \
         plan.ron:1: `a` comes after `b`\n  plan.ron:2: `b` needs a `toy` of `a`",
    ];
    assert_eq!(errors("a:b! b:a c:d!"), expected);
}

#[test]
fn of_a_knot_the_shortest_cycle_is_told() {
    let told = errors("a:b b:c c:d,a? d:a");
    assert!(told[0].starts_with("steps wait for each other: `a -> b -> c -> a`;"), "{told:?}");
}

#[test]
fn closures_follow_the_edges_they_are_given() {
    let graph = toy::graph("a b:a c:b~ d:b?").expect("sound");
    let closure = |add: &dyn Fn(&Graph, &mut [bool])| {
        let mut set = vec![false, true, false, false];
        add(&graph, &mut set);
        set
    };
    assert_eq!(
        closure(&|graph, set| graph.add_downstream(set, super::Edge::is_hard)),
        [false, true, false, true]
    );
    assert_eq!(closure(&|graph, set| graph.add_downstream(set, |_| true)), [false, true, true, true]);
    assert_eq!(
        closure(&|graph, set| graph.add_upstream(set, super::Edge::is_hard)),
        [true, true, false, false]
    );
}
