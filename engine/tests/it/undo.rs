//! The way back: only what we made, last first, as often as one likes, and from there to the same result again.

use crate::farm::Farm;
use anyhow::Result;
use drover_state::EventKind;

const PLAN: &str = "a b:a c:a d:b,c";

#[test]
fn what_was_made_goes_last_first_and_what_was_found_stays() -> Result<()> {
    let farm = Farm::new()?;
    std::fs::create_dir_all(farm.tree())?;
    std::fs::write(farm.tree().join("c"), "c\n")?;
    farm.run(PLAN)?;
    let result = farm.files()?;
    assert_eq!(farm.would_undo(PLAN)?, ["d: remove d", "b: remove b", "a: remove a"]);
    assert_eq!(farm.files()?, result, "looking changes nothing");

    let (report, seen, kept) = farm.undo(PLAN)?;
    assert_eq!((report.undone, report.code), (3, Some(0)));
    let order = seen.events.iter().filter_map(|event| match &event.kind {
        EventKind::Started { node, reason, .. } => Some(format!("{node}: {reason}")),
        _ => None,
    });
    assert_eq!(order.collect::<Vec<_>>(), ["d: remove d", "b: remove b", "a: remove a"]);
    assert_eq!(kept, ["d: the name d stays", "b: the name b stays", "a: the name a stays"]);
    assert_eq!(farm.files()?.into_keys().collect::<Vec<_>>(), ["c"]);

    assert!(farm.would_undo(PLAN)?.is_empty());
    assert_eq!(farm.run(PLAN)?.1.outcomes(), "a changed, b changed, c unchanged, d changed");
    assert_eq!(farm.files()?, result);
    Ok(())
}

#[test]
fn what_goes_with_another_is_not_asked() -> Result<()> {
    let farm = Farm::new()?;
    const PLAN: &str = "a=whole b:a=with-a c:b";
    farm.run(PLAN)?;
    assert_eq!(farm.would_undo(PLAN)?, ["c: remove c", "a: remove a"]);
    assert_eq!(farm.undo(PLAN)?.1.outcomes(), "a undone, b undone, c undone");
    // A carrier that does not take the whole leaves each its own way.
    let farm = Farm::new()?;
    farm.run("a b:a=with-a")?;
    assert_eq!(farm.would_undo("a b:a=with-a")?, ["b: remove b", "a: remove a"]);
    // Alone it has a way of its own.
    let mut farm = Farm::new()?;
    farm.run(PLAN)?;
    farm.only = vec!["b".to_owned()];
    assert_eq!(farm.undo(PLAN)?.1.outcomes(), "b undone");
    assert_eq!(farm.files()?.into_keys().collect::<Vec<_>>(), ["a", "c"]);
    Ok(())
}

/// A step that the plan puts after another, or before one, is undone as without that, in the order of the plan.
#[test]
fn an_order_of_the_plan_is_no_reason_to_stay() -> Result<()> {
    let farm = Farm::new()?;
    const PLAN: &str = "a:b! b c:a! d=whole e:d,c!=with-d";
    farm.run(PLAN)?;
    assert_eq!(farm.would_undo(PLAN)?, ["d: remove d", "c: remove c", "a: remove a", "b: remove b"]);
    assert_eq!(farm.undo(PLAN)?.1.outcomes(), "a undone, b undone, c undone, d undone, e undone");
    assert_eq!(farm.files()?.into_keys().collect::<Vec<_>>(), ["e"], "that is for `d` to take");
    Ok(())
}

#[test]
fn what_cannot_be_undone_keeps_what_it_needs() -> Result<()> {
    let farm = Farm::new()?;
    const PLAN: &str = "a b:a c:b=stuck d:a";
    farm.run(PLAN)?;
    let (report, seen, _) = farm.undo(PLAN)?;
    assert_eq!(seen.outcomes(), "a blocked by c, b blocked by c, c failed, d undone");
    assert_eq!(report.code, Some(1));
    assert_eq!(seen.failure("c").and_then(|failure| failure.status.as_deref()), Some("exit status 4"));
    // Once it can be, the next one goes on from there.
    assert_eq!(farm.undo("a b:a c:b d:a")?.1.outcomes(), "a undone, b undone, c undone");
    assert!(farm.files()?.is_empty());
    Ok(())
}

#[test]
fn what_has_to_stay_is_said_and_remains_recorded() -> Result<()> {
    let farm = Farm::new()?;
    const PLAN: &str = "a b:a=needed";
    farm.run(PLAN)?;
    for _ in 0..2 {
        let (report, seen, kept) = farm.undo("b=needed")?;
        assert_eq!(seen.outcomes(), "b kept");
        assert_eq!((kept, report.code), (vec!["b: somebody needs it".to_owned()], Some(0)));
    }
    assert_eq!(farm.would_undo(PLAN)?, ["b: remove b", "a: remove a"]);
    Ok(())
}

#[test]
fn an_undo_that_undoes_nothing_is_found_out() -> Result<()> {
    let farm = Farm::new()?;
    farm.run("a=undead")?;
    let (_, seen, _) = farm.undo("a=undead")?;
    let message = seen.failure("a").map(|failure| failure.message.clone()).unwrap_or_default();
    assert_eq!(message, "undone, and yet this is still to do: remove a");
    Ok(())
}
