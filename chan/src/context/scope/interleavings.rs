//! Every interleaving of cancels, new children and drops on a small tree.
//!
//! All state that the operations share is under locks, and no operation holds two. So their
//! critical sections are the steps of the protocol. These tests carry them out one by one in every
//! possible order, on one thread.

use super::*;

/// An operation. Each call carries out its next step, and the call for the last step returns false.
type Operation = Box<dyn FnMut(&mut World) -> bool>;

/// The scopes that still have a handle, by name, each with the name of its parent.
#[derive(Default)]
struct World {
    scopes: Vec<(&'static str, Option<&'static str>, Arc<Scope>)>,
    /// The scopes for which a call of cancel has returned.
    cancelled: Vec<&'static str>,
    all: Vec<Weak<Scope>>,
}

impl World {
    fn get(&self, name: &str) -> Option<Arc<Scope>> {
        self.scopes.iter().find(|(n, ..)| *n == name).map(|(.., scope)| scope.clone())
    }

    fn add(&mut self, name: &'static str, parent: Option<&'static str>) {
        let above = parent.map(|parent| self.get(parent).expect("the test has a handle"));
        let scope = Scope::new(above.as_ref(), None);
        self.all.push(Arc::downgrade(&scope));
        self.scopes.push((name, parent, scope));
    }

    fn take(&mut self, name: &str) -> Arc<Scope> {
        let index = self.scopes.iter().position(|(n, ..)| *n == name).expect("the test has a handle");
        self.scopes.swap_remove(index).2
    }

    fn is_below(&self, name: &str, top: &str) -> bool {
        let parent = |name| self.scopes.iter().find(|(n, ..)| *n == name).and_then(|(_, parent, _)| *parent);
        name == top || parent(name).is_some_and(|parent| self.is_below(parent, top))
    }

    fn check(&self) {
        for top in &self.cancelled {
            for (name, _, scope) in &self.scopes {
                assert!(!self.is_below(name, top) || scope.is_over(), "{name} is not over below {top}");
            }
        }
    }
}

fn cancel(name: &'static str) -> Operation {
    let mut walk = None;
    Box::new(move |world| {
        let current = walk.get_or_insert_with(|| {
            CancelWalk::from(world.get(name).unwrap(), End { error: Error::Canceled, cause: None })
        });
        if current.visit_next() {
            // The map returns children in an order that depends on their addresses. Sorting makes
            // every run take the same path.
            let age = |scope: &Arc<Scope>| {
                world.all.iter().position(|one| std::ptr::eq(one.as_ptr(), Arc::as_ptr(scope)))
            };
            current.scopes[current.next..].sort_by_key(age);
            return true;
        }
        walk.take().unwrap().close();
        world.cancelled.push(name);
        false
    })
}

fn child(name: &'static str, parent: &'static str) -> Operation {
    Box::new(move |world| {
        world.add(name, Some(parent));
        false
    })
}

/// The two steps of a drop: the last reference is dropped, then the child is removed from its
/// parent.
fn drop_scope(name: &'static str) -> Operation {
    let mut half: Option<(Scope, usize)> = None;
    Box::new(move |world| {
        if let Some((mut scope, address)) = half.take() {
            scope.parent.take().unwrap().remove_child(address);
            return false;
        }
        let scope = world.take(name);
        let address = address(&scope);
        match Arc::into_inner(scope) {
            // A running cancel has a reference, and will drop the last one.
            None => false,
            Some(scope) => {
                half = Some((scope, address));
                true
            }
        }
    })
}

/// Runs the operations in every order. `tree` has the scopes at the start.
fn in_every_order(
    tree: &[(&'static str, Option<&'static str>)],
    operations: &[&dyn Fn() -> Operation],
) -> usize {
    let mut choices: Vec<(usize, usize)> = Vec::new();
    let mut runs = 0;
    loop {
        let mut world = World::default();
        tree.iter().for_each(|(name, parent)| world.add(name, *parent));
        let mut running: Vec<Operation> = operations.iter().map(|make| make()).collect();
        let mut depth = 0;
        while !running.is_empty() {
            if depth == choices.len() {
                choices.push((0, running.len()));
            }
            let (choice, of) = choices[depth];
            assert_eq!(of, running.len(), "the same choices lead to the same state");
            if !running[choice](&mut world) {
                drop(running.remove(choice));
            }
            world.check();
            depth += 1;
        }
        for (name, _, scope) in &world.scopes {
            assert!(!scope.is_over() || scope.lock().children.is_empty(), "{name} keeps children");
            let children = scope.lock().children.values().filter(|child| child.strong_count() == 0).count();
            assert_eq!(children, 0, "{name} keeps dropped children");
        }
        world.scopes.clear();
        assert!(world.all.iter().all(|scope| scope.strong_count() == 0), "a scope leaks");

        runs += 1;
        while let Some((choice, of)) = choices.pop() {
            if choice + 1 < of {
                choices.push((choice + 1, of));
                break;
            }
        }
        if choices.is_empty() {
            return runs;
        }
    }
}

const CHAIN: &[(&str, Option<&str>)] = &[("top", None), ("middle", Some("top")), ("low", Some("middle"))];

#[test]
fn two_cancels_and_new_children() {
    let runs = in_every_order(
        CHAIN,
        &[&|| cancel("top"), &|| cancel("middle"), &|| child("new", "middle"), &|| child("late", "low")],
    );
    assert!(runs > 5_000, "{runs}");
}

#[test]
fn two_cancels_of_one_scope_and_a_drop() {
    in_every_order(CHAIN, &[&|| cancel("top"), &|| cancel("top"), &|| drop_scope("low")]);
}

#[test]
fn cancels_above_and_below_a_drop_and_a_new_child() {
    let tree = [CHAIN, &[("other", Some("middle"))]].concat();
    in_every_order(
        &tree,
        &[&|| cancel("top"), &|| cancel("low"), &|| drop_scope("other"), &|| child("new", "middle")],
    );
}

#[test]
fn three_cancels_on_a_chain() {
    in_every_order(CHAIN, &[&|| cancel("top"), &|| cancel("middle"), &|| cancel("low")]);
}

#[test]
fn children_that_are_dropped_leave_nothing_in_their_parent() {
    let parent = Scope::new(None, None);
    let mut children: Vec<_> = (0..10_000).map(|_| Scope::new(Some(&parent), None)).collect();
    assert_eq!(parent.lock().children.len(), 10_000);
    assert_eq!(Arc::strong_count(&parent), 10_001);
    let grandchild = Scope::new(children.last(), None);
    children.clear();
    assert_eq!(parent.lock().children.len(), 1, "the grandchild keeps the last one");
    assert!(parent.lock().children.capacity() < 100, "the room for ten thousand is given back");
    drop(grandchild);
    assert_eq!(parent.lock().children.len(), 0);
    assert_eq!((Arc::strong_count(&parent), Arc::weak_count(&parent)), (1, 0));
}

#[test]
fn a_child_that_was_cancelled_leaves_its_parent() {
    let parent = Scope::new(None, None);
    let child = Scope::new(Some(&parent), None);
    child.cancel(None);
    assert!(parent.lock().children.is_empty());
    let created_later = Scope::new(Some(&child), None);
    assert!(created_later.is_over() && child.lock().children.is_empty());
}
