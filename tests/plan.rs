//! Plans that work are taken, plans that do not are shown what is wrong: every message as a terminal shows it.

use drover_steps::plan::{Diagnostic, Loaded, Settings, load};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Loads a plan with these arguments of `--set`.
fn load_with(path: &Path, set: &[&str]) -> Result<Loaded, Vec<Diagnostic>> {
    load(path, &Settings { set: set.iter().map(ToString::to_string).collect() })
}

/// Loads a plan that is right.
fn load_text(text: &str) -> Loaded {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let path = directory.path().join("plan.ron");
    std::fs::write(&path, text).expect("it can be written");
    load_with(&path, &[]).unwrap_or_else(|wrong| panic!("{}", wrong[0]))
}

/// All that is wrong with a plan, as a terminal shows it.
fn complaints(path: &Path, set: &[&str]) -> String {
    let wrong = load_with(path, set).err().unwrap_or_default();
    wrong.iter().map(|one| format!("{one}\n")).collect::<Vec<_>>().join("\n")
}

/// The files of a directory that end in `.ron`, sorted.
fn plans(directory: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("the directory is in the repository");
    let paths = entries.map(|entry| entry.expect("it can be listed").path());
    let mut plans: Vec<_> = paths.filter(|path| path.extension().is_some_and(|e| e == "ron")).collect();
    plans.sort();
    plans
}

/// Compares with the file `golden`; with `BLESS=1`, writes that anew, for review.
fn expect(golden: &Path, shown: &str) {
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(golden, shown).expect("it can be written");
    }
    let expected = std::fs::read_to_string(golden).unwrap_or_default();
    assert_eq!(shown, expected, "{}", golden.display());
}

#[test]
fn every_plan_in_the_repository_expands() {
    for path in plans("plans") {
        assert_eq!(complaints(&path, &[]), "", "{}", path.display());
        let loaded = load_with(&path, &[]).expect("nothing was wrong with it");
        assert!(!loaded.containers.is_empty());
    }
}

/// A file `NAME.stderr` beside each plan holds what is said about it.
#[test]
fn every_mistake_is_shown_at_its_place() {
    for path in plans("tests/plans") {
        let shown = complaints(&path, &[]);
        assert!(!shown.is_empty(), "{} is wrong", path.display());
        expect(&path.with_extension("stderr"), &shown);
    }
}

/// The program prints just that, says how many there are, and ends with 3.
#[test]
fn the_program_shows_mistakes_and_ends_with_3() {
    let state = tempfile::tempdir().expect("a directory can be made");
    for command in ["plan", "run", "graph"] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_drover"))
            .args([command, "tests/plans/commas.ron", "--state"])
            .arg(state.path())
            .output()
            .expect("the program is built");
        let stderr = String::from_utf8(output.stderr).expect("messages are UTF-8");
        let golden = std::fs::read_to_string("tests/plans/commas.stderr").expect("it is in the repository");
        assert_eq!(stderr, format!("{golden}\n4 errors in the plan; nothing was done\n"), "{command}");
        assert_eq!(output.status.code(), Some(3), "{command}");
    }
}

/// Arguments of `--set`, each with what is wrong with it.
#[test]
fn every_mistake_in_an_argument_is_shown_in_the_argument() {
    let arguments = [
        "mirror",
        "mirror=",
        "miror=http://mirror.example.org/debian",
        "host=[]",
        "each.DefineDomain.memory.size=1",
        "each.DefineDomian.memory=2 GiB",
        "each.DefineDomain.memroy=2 GiB",
        "each.GuestPackages=comfort",
        "each.GuestPackages=[comfort",
        "each.ReserveAddress=Fixd(\"10.0.3.9\")",
        "host.BuildHome.uid=abuild",
        "host.Bridge.network=10.0.3.0/240",
        "containers.1.arch=amd64",
        "containers.jenkins-debian12.arch=amd64",
        "containers.0.arch=[amd46, arm64]",
        "containers.0.release=bookwrom",
        "containers.0.name=a_{arch}",
        "containers.0.archs=amd64",
        "containers.0.Bridge.name=lxcbr1",
        "containers.*.without=[Issue]",
        "containers.*.steps=[Isue]",
        "containers.0.ReserveAddress=Fixed(\"10.0.3.9\")",
    ];
    let shown = arguments.map(|argument| {
        let shown = complaints(Path::new("plans/debian-pair.ron"), &[argument]);
        assert!(!shown.is_empty(), "{argument} is wrong");
        shown
    });
    expect(Path::new("tests/plans/set.stderr"), &shown.join("\n"));
}

/// What is set is in the steps, whether it has its quotes or not, and the last one wins.
#[test]
fn an_argument_changes_the_plan() {
    let plan = Path::new("plans/debian-pair.ron");
    let step = |set: &[&str], id: &str| {
        let loaded = load_with(plan, set).expect("the plan is right");
        let node = loaded.graph.nodes().iter().find(|node| node.id.as_str() == id);
        format!("{:?}", node.expect("the plan has this node").step)
    };
    let home = |set: &[&str]| step(set, "host/build-home");
    assert_eq!(home(&[]), home(&["host.BuildHome.uid=399", "host.BuildHome.user=\"abuild\""]));
    assert_ne!(home(&[]), home(&["host.BuildHome.uid=400"]));
    assert_eq!(
        home(&["host.BuildHome.uid=400"]),
        home(&["host.BuildHome.uid=401", "host.BuildHome.uid=400"])
    );
    assert!(home(&["host.BuildHome.user=builder"]).contains("builder"));

    let one = |set: &[&str]| step(set, "jenkins-debian12-arm64/guest-packages");
    let other = |set: &[&str]| step(set, "jenkins-debian12-amd64/guest-packages");
    let argument = ["containers.jenkins-debian12-{arch}.GuestPackages=[\"nut-build\"]"];
    assert_ne!(one(&[]), one(&argument));
    assert_ne!(other(&[]), other(&argument));
    assert_eq!(one(&argument), one(&["containers.*.GuestPackages=[\"nut-build\"]"]));
    assert_eq!(one(&argument), one(&["each.GuestPackages=[\"nut-build\"]"]));

    let names = |set: &[&str]| {
        let loaded = load_with(plan, set).expect("the plan is right");
        (loaded.name, loaded.containers.iter().map(|container| container.name.clone()).collect::<Vec<_>>())
    };
    assert_eq!(
        names(&["containers.0.arch=s390x", "name=one"]),
        ("one".into(), vec!["jenkins-debian12-s390x".into()])
    );
    let (_, both) =
        names(&["containers.0.arch=s390x", "containers.0.name={release}", "containers.0.release=bullseye"]);
    assert_eq!(both, ["bullseye"]);
}

/// The plans in the documentation of the language, and what each expands to.
#[test]
fn the_examples_of_the_manual_are_right() {
    let manual = std::fs::read_to_string("steps/src/plan/mod.rs").expect("it is in the repository");
    let manual: String =
        manual.lines().map_while(|line| line.strip_prefix("//!")).map(|line| format!("{line}\n")).collect();
    let names: Vec<_> = manual
        .split("```ron\n")
        .skip(1)
        .map(|rest| {
            let example = rest.split("```").next().expect("a split has a first part");
            let path = Path::new("plans").canonicalize().expect("it is there");
            let directory = tempfile::tempdir().expect("a directory can be made");
            let file = directory.path().join("plan.ron");
            let example =
                example.replace("debian-pair.ron", &path.join("debian-pair.ron").display().to_string());
            std::fs::write(&file, example).expect("it can be written");
            let loaded = load_with(&file, &[]).unwrap_or_else(|wrong| panic!("{}", wrong[0]));
            let containers: Vec<_> =
                loaded.containers.iter().map(|container| container.name.clone()).collect();
            format!("{}: {}", loaded.name, containers.join(" "))
        })
        .collect();
    assert_eq!(
        names,
        [
            "pair: debian12-amd64 debian12-arm64",
            "order: ",
            "four: ci-11-amd64 ci-11-arm64 ci-12-amd64 ci-12-arm64",
            "different: plain known",
            "cached: ",
            "large: jenkins-debian12-amd64 jenkins-debian12-arm64",
        ]
    );
}

/// What programs get of the caller's environment: the plan's names, and those of what it includes, each once; or other ones
/// from the command line.
#[test]
fn a_plan_passes_variables_on_by_name() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let path = directory.path().join("plan.ron");
    std::fs::write(directory.path().join("base.ron"), r#"Plan(name: "base", env: ["A", "B"])"#)
        .expect("written");
    let text = r#"Plan(name: "top", include: ["base.ron"], env: ["B", "C_1"])"#;
    std::fs::write(&path, text).expect("it can be written");
    let env =
        |set: &[&str]| load_with(&path, set).map(|loaded| loaded.env).map_err(|wrong| wrong[0].to_string());
    assert_eq!(env(&[]), Ok(vec!["A".into(), "B".into(), "C_1".into()]));
    assert_eq!(env(&["env=[\"X\"]"]), Ok(vec!["X".into()]));
    assert_eq!(env(&["env=[]"]), Ok(vec![]));
}

/// RON that is unusual and right: comments, raw text, nested comments, parentheses that hold nothing.
#[test]
fn a_plan_may_use_all_of_ron() {
    let text = r##"
        /* A plan /* of one container */ , ( [ */
        Plan ( // with a comment that holds a bracket (
            name : r#"a "raw" name, with \ and (brackets"# , containers : [ ( name : "a-{arch}" /* ) */ ,
            distribution : Debian , release : [ "bookworm" , ] , arch : [ amd64 , arm64 , ] , steps : [ ReserveAddress ( Auto ) , ] , ) ] ,
            each : [ ] , mirror : "http://deb.example.org/\u{64}ebian", host : [ HostPackages ( ) , ],
        )
        // The end, without an end of line"##;
    let loaded = load_text(text);
    assert_eq!(loaded.name, r#"a "raw" name, with \ and (brackets"#);
    assert_eq!(loaded.containers[1].base.mirrors, ["http://deb.example.org/debian"]);
}

/// What is on top wins, and what is included by two is taken in once.
#[test]
fn plans_are_made_of_plans() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    std::fs::create_dir(directory.path().join("parts")).expect("it can be made");
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("it can be written");
        path
    };
    let container = |name: &str| {
        format!(r#"containers: [(name: "{name}", distribution: Debian, release: "bookworm", arch: amd64)]"#)
    };
    let bridge = r#"Bridge(name: "lxcbr0", network: "10.0.3.0/24")"#;
    write(
        "parts/base.ron",
        &format!(r#"Plan(name: "base", host: [HostPackages, {bridge}], {})"#, container("base")),
    );
    write("parts/one.ron", r#"Plan(name: "one", include: ["base.ron"], mirror: "http://one.example.org/")"#);
    write("parts/two.ron", r#"Plan(name: "two", include: ["base.ron"], mirror: "http://two.example.org/")"#);
    let include = r#"include: ["parts/one.ron", "parts/two.ron"]"#;
    let bridge = r#"Bridge(name: "br7", network: "10.7.0.0/16")"#;
    let top = format!(r#"Plan(name: "top", {include}, {}, host: [{bridge}])"#, container("top"));
    let loaded = load_with(&write("top.ron", &top), &[]).unwrap_or_else(|wrong| panic!("{}", wrong[0]));
    assert_eq!(loaded.name, "top");
    assert_eq!(loaded.farm.bridge, "br7");
    let names: Vec<_> = loaded.containers.iter().map(|container| container.name.as_str()).collect();
    assert_eq!(names, ["base", "top"]);
    assert_eq!(loaded.containers[0].base.mirrors, ["http://two.example.org/"]);
    let ids: Vec<_> = loaded.graph.nodes().iter().map(|node| node.id.as_str()).collect();
    assert_eq!(ids, ["host/packages", "host/bridge", "host/lxc-net"]);
}

/// However many values the lists have, there is one container for each combination, and one bootstrap for those of one
/// release and architecture.
#[test]
fn lists_multiply() {
    let all = ["amd64", "arm64", "armel", "armhf", "i386", "mips64el", "mipsel", "ppc64el", "s390x"];
    for (architectures, releases) in (1..=all.len()).flat_map(|a| (1..=2).map(move |r| (a, r))) {
        let set = [
            "containers.0.name={distribution}-{release}-{version}-{arch}",
            &format!("containers.0.arch=[{}]", all[..architectures].join(", ")),
            &format!("containers.0.release=[{}]", [r#""bookworm""#, r#""bullseye""#][..releases].join(", ")),
        ];
        let loaded = load_with(Path::new("plans/debian-pair.ron"), &set)
            .unwrap_or_else(|wrong| panic!("{}", wrong[0]));
        let names: HashSet<_> = loaded.containers.iter().map(|container| &container.name).collect();
        assert_eq!(names.len(), architectures * releases);
        assert_eq!(loaded.containers.len(), names.len());
        assert_eq!(loaded.farm.members.architectures.len(), architectures);
        let places: HashSet<_> = loaded.graph.nodes().iter().map(|node| node.id.place()).collect();
        let bootstraps = places.iter().filter(|place| place.starts_with("bootstrap/"));
        assert_eq!(bootstraps.count(), names.len());
    }
}

/// Two containers of one release and architecture share what `bootstrap` makes.
#[test]
fn a_base_system_is_made_once() {
    let entry =
        |name: &str| format!(r#"(name: "{name}", distribution: Debian, release: "bookworm", arch: amd64)"#);
    let plan = std::fs::read_to_string("plans/debian-pair.ron").expect("it is in the repository");
    let plan = plan.replace("containers: [", &format!("containers: [{}, {},", entry("one"), entry("two")));
    let loaded = load_text(&plan);
    let ids: HashSet<_> = loaded.graph.nodes().iter().map(|node| node.id.as_str()).collect();
    assert_eq!(ids.len(), loaded.graph.nodes().len());
    assert!(std::sync::Arc::ptr_eq(&loaded.containers[0].base, &loaded.containers[1].base));
}

#[test]
fn a_diagnostic_has_a_json_form() {
    let wrong = load_with(Path::new("plans/debian-pair.ron"), &["miror=x"])
        .expect_err("there is no such thing to set");
    let json = serde_json::to_string(&wrong).expect("it is plain data");
    let place = r#"{"file":"--set","line":1,"column":1,"width":5,"text":"miror=x","label":null}"#;
    let message = "a plan has no `miror` to set";
    let expected =
        format!(r#"[{{"message":"{message}","places":[{place}],"help":"did you mean `mirror`?"}}]"#);
    assert_eq!(json, expected);
}

/// Every diagnostic of a plan that could be read has a place, and that place is in the text.
fn assert_placed(text: &[u8], directory: &Path) {
    let path = directory.join("plan.ron");
    std::fs::write(&path, text).expect("it can be written");
    let Err(wrong) = load_with(&path, &[]) else { return };
    assert!(!wrong.is_empty());
    let text = String::from_utf8_lossy(text);
    for diagnostic in wrong {
        let place =
            diagnostic.places.first().unwrap_or_else(|| panic!("{diagnostic}\nhas no place in\n{text}"));
        // A line may end the text, with nothing on it.
        let line = text.split('\n').nth(place.line - 1).expect("the line is in the text");
        assert!(place.column <= line.chars().count() + 1, "{diagnostic}\nis beside\n{text}");
    }
}

#[test]
fn a_plan_that_is_cut_anywhere_is_shown_where() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let plan = std::fs::read("plans/debian-multiarch.ron").expect("it is in the repository");
    for length in 0..plan.len() {
        assert_placed(&plan[..length], directory.path());
    }
}

#[test]
fn brackets_without_end_are_shown_where() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    for bracket in ["(", "[", "{", "A(", "(a:", "[{", "/*"] {
        assert_placed(bracket.repeat(100_000).as_bytes(), directory.path());
        assert_placed(format!("Plan(name: {}", bracket.repeat(100_000)).as_bytes(), directory.path());
    }
}

#[test]
fn a_plan_that_is_damaged_anywhere_is_shown_where() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let plan = std::fs::read("plans/debian-multiarch.ron").expect("it is in the repository");
    let marks = b"()[]{},:\"'\\/*#\n rb\x00\xff\xc3\xa4AZaz09_-";
    // Any sequence will do; it is the same each time, so that a failure can be looked at again.
    let mut seed = 1_u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).expect("31 bits fit") % below
    };
    for _ in 0..1000 {
        let mut damaged = plan.clone();
        for _ in 0..=random(3) {
            let at = random(damaged.len());
            match random(3) {
                0 => damaged[at] = marks[random(marks.len())],
                1 => damaged.insert(at, marks[random(marks.len())]),
                _ => {
                    damaged.remove(at);
                }
            }
        }
        assert_placed(&damaged, directory.path());
    }
}

#[test]
fn after_is_an_order_and_nothing_else() {
    let plan = |order: &str| {
        load_text(&format!(
            "Plan(name: \"a\", host: [Command(name: \"one\", run: \"true\", creates: \"/one\"{order}), \
             Command(name: \"two\", run: \"true\", creates: \"/two\")])"
        ))
    };
    let shown = |loaded: &Loaded| -> Vec<String> {
        loaded.graph.order().iter().map(|node| loaded.graph.nodes()[*node].id.to_string()).collect()
    };
    let (free, bound) = (plan(""), plan(", after: [\"host/command-two\"]"));
    assert_eq!(shown(&free), ["host/command-one", "host/command-two"]);
    assert_eq!(shown(&bound), ["host/command-two", "host/command-one"]);
    for (one, other) in free.graph.nodes().iter().zip(bound.graph.nodes()) {
        let print = |node: &drover_engine::Node| drover_engine::fingerprint(node.step.as_ref());
        assert_eq!(print(one), print(other), "what a step is does not depend on when it is done");
    }
}

#[test]
fn what_a_step_is_does_not_depend_on_the_other_containers() {
    let plan = |more: &str| {
        load_text(&format!(
            "Plan(name: \"a\", host: [HostPackages, Storage(Directory(\"/srv/libvirt\")), Binfmt], containers: [(name: \"one\", \
             distribution: Debian, release: \"bookworm\", arch: [amd64]){more}], each: [Bootstrap, LxcCreate])"
        ))
    };
    let one = plan("");
    let two = plan(", (name: \"two\", distribution: Debian, release: \"bookworm\", arch: [arm64])");
    let print = |node: &drover_engine::Node| drover_engine::fingerprint(node.step.as_ref());
    for node in one.graph.nodes() {
        let same = two.graph.find(node.id.as_str()).expect("it is in both");
        assert_eq!(print(node), print(&two.graph.nodes()[same]), "{}", node.id);
    }
}
