//! What the lifetimes of a scope must refuse. Each of these would access memory that has been
//! freed.

/// A grandchild that borrows from a child.
/// ```compile_fail,E0373
/// narrowboat::scope(|s| {
///     s.spawn(|| {
///         let inside = String::from("gone soon");
///         s.spawn(|| println!("{inside}"));
///     });
/// });
/// ```
/// The same by reference to the child's variable.
/// ```compile_fail,E0597
/// narrowboat::scope(|s| {
///     s.spawn(|| {
///         let inside = String::from("gone soon");
///         let inside = &inside;
///         s.spawn(move || println!("{inside}"));
///     });
/// });
/// ```
struct Grandchildren;

/// Two children that write the same variable.
/// ```compile_fail,E0499
/// let mut n = 0;
/// narrowboat::scope(|s| {
///     s.spawn(|| n += 1);
///     s.spawn(|| n += 1);
/// });
/// ```
/// The owner reads what a child writes.
/// ```compile_fail,E0502
/// let mut n = 0;
/// narrowboat::scope(|s| {
///     s.spawn(|| n += 1);
///     println!("{n}");
/// });
/// ```
struct Aliases;

/// A handle that leaves its scope.
/// ```compile_fail
/// let n = 1;
/// let handle = narrowboat::scope(|s| s.spawn(|| n));
/// handle.join().unwrap();
/// ```
/// A scope that leaves itself.
/// ```compile_fail
/// let mut kept = None;
/// narrowboat::scope(|s| kept = Some(s));
/// kept.unwrap().spawn(|| ());
/// ```
/// A child that takes the variable out from under its scope.
/// ```compile_fail,E0505
/// let text = String::from("borrowed");
/// narrowboat::scope(|s| {
///     s.spawn(|| println!("{text}"));
///     drop(text);
/// });
/// ```
struct Escapes;

/// A closure that must stay on its thread.
/// ```compile_fail,E0277
/// let shared = std::rc::Rc::new(1);
/// narrowboat::scope(|s| {
///     s.spawn(|| println!("{shared}"));
/// });
/// ```
/// A result that must stay on its thread.
/// ```compile_fail,E0277
/// narrowboat::scope(|s| {
///     s.spawn(|| std::rc::Rc::new(1));
/// });
/// ```
struct Threads;

/// An ordinary goroutine that borrows.
/// ```compile_fail,E0373
/// let n = 1;
/// narrowboat::spawn(|| println!("{n}"));
/// ```
struct WithoutAScope;
