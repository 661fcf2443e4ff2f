//! Labels of goroutines: what sets them, what takes them away, and which goroutines have them.

use narrowboat_runtime::{Builder, EnteredLabels, Labels, dump, go, labels, sleep, spawn, yield_now};
use narrowboat_testing::{eventually, program};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

fn mine() -> String {
    Labels::current().to_string()
}

#[test]
fn every_form_of_the_macro_sets_what_it_says() {
    program(|| {
        let (id, path) = (7, "/x");
        assert_eq!(labels!(id => { mine() }), "id=7");
        assert_eq!(labels!(id, path => { mine() }), "id=7, path=/x");
        assert_eq!(labels!(request = id + 1 => { mine() }), "request=8");
        assert_eq!(labels!(request = id, http.path = ?path => { mine() }), "request=7, http.path=\"/x\"");
        assert_eq!(labels!(a = ?path, b = id, => { mine() }), "a=\"/x\", b=7");
        let guard = labels!(request = id, path,);
        assert_eq!(mine(), "request=7, path=/x");
        drop(guard);
        let guard: EnteredLabels = labels!(a = ?path);
        assert_eq!(mine(), "a=\"/x\"");
        drop(guard);
        assert_eq!(mine(), "");
    });
}

#[test]
fn the_end_of_a_scope_restores_those_of_before() {
    program(|| {
        let _outer = labels!(request = 1, user = "ann");
        labels!(request = 2, step = "parse" => {
            yield_now();
            assert_eq!(mine(), "request=2, user=ann, step=parse");
        });
        assert_eq!(mine(), "request=1, user=ann");
        let panic = catch_unwind(AssertUnwindSafe(|| labels!(request = 3 => { std::panic::panic_any(()) })));
        assert!(panic.is_err());
        assert_eq!(mine(), "request=1, user=ann");
    });
}

#[test]
fn a_child_begins_with_the_labels_of_its_spawner() {
    program(|| {
        let (plain, child, named) = labels!(request = 7 => {
            let named = Builder::new().name("named").own_stack(1 << 16);
            (spawn(mine), go!(|| (mine(), go!(mine).join().unwrap())), named.spawn(mine).unwrap())
        });
        // Those of a child are its own: what its spawner does afterwards does not matter.
        assert_eq!(child.join().unwrap(), ("request=7".into(), "request=7".into()));
        assert_eq!((plain.join().unwrap(), named.join().unwrap()), ("request=7".into(), "request=7".into()));
        assert_eq!(spawn(mine).join().unwrap(), "");
    });
}

#[test]
fn a_goroutine_on_the_system_stack_keeps_its_labels() {
    program(|| {
        let inside = labels!(request = 7 => { narrowboat_runtime::stack::on_system_stack(mine) });
        assert_eq!(inside, "request=7");
        let _set_inside = narrowboat_runtime::stack::on_system_stack(|| labels!(request = 8));
        assert_eq!(mine(), "request=8");
    });
}

#[test]
fn on_a_plain_thread_nothing_has_labels() {
    assert_eq!(labels!(request = 7 => { mine() + &spawn(mine).join().unwrap() }), "");
}

#[test]
fn a_dump_shows_the_labels_of_each_goroutine() {
    program(|| {
        for n in 0..6 {
            labels!(request = n / 3 => { go!(|| sleep(Duration::from_secs(1 << 30))) });
        }
        eventually("all sleep", || {
            let dump = dump();
            let with =
                |value| dump.goroutines().iter().filter(|g| g.labels().get("request") == Some(value)).count();
            (with("0"), with("1")) == (3, 3)
                && dump.to_string().contains("    labels  request=0 (3 of them); request=1 (3 of them)")
        });
    });
}
