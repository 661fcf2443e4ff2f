//! The oldest test of Go's channels, after M. D. McIlroy's "Squinting at power series": coefficients flow through
//! hundreds of parties, some of which wait for what they themselves are to send.

mod rational;
mod series;

use narrowboat_chan::{bounded, unbounded};
use narrowboat_testing::{Work, suite};
use rational::{Rational, ratio, whole};
use series::{Algebra, Series};

suite! {
    sums_and_products,
    calculus,
    reciprocals,
    the_exponential,
    substitution,
    the_tangent_is_the_arc_tangent_reverted,
    finite_series_end,
}

/// Computes as many coefficients as are expected and compares them. Then all are told to stop, and have to.
#[track_caller]
fn check(series: impl FnOnce(&Algebra) -> Series, expected: &[Rational]) {
    let (done_tx, done) = bounded(0);
    let (works_tx, works) = unbounded::<Work<()>>();
    let algebra = Algebra::new(done, works_tx);
    let series = series(&algebra);
    for (place, expected) in expected.iter().enumerate() {
        assert_eq!(series.get(&algebra), Some(*expected), "coefficient of x^{place}");
    }
    done_tx.close();
    drop(algebra);
    // Ends when the last of them has dropped its way to start others.
    for work in works {
        work.join();
    }
}

fn fractions<const N: usize>(pairs: [(i128, i128); N]) -> [Rational; N] {
    pairs.map(|(numerator, denominator)| ratio(numerator, denominator))
}

fn ones(algebra: &Algebra) -> Series {
    algebra.repeat(whole(1))
}

fn sums_and_products() {
    check(ones, &[whole(1); 10]);
    check(|a| a.add(ones(a), a.repeat(whole(2))), &[whole(3); 10]);
    check(|a| a.scale(whole(-1), a.repeat(ratio(2, 3))), &[ratio(-2, 3); 10]);
    let counting: Vec<_> = (1..=10).map(whole).collect();
    check(|a| a.multiply(ones(a), ones(a)), &counting);
    let triangles: Vec<_> = (1..=8).map(|n| whole(n * (n + 1) / 2)).collect();
    check(|a| a.multiply(a.multiply(ones(a), ones(a)), ones(a)), &triangles);
    check(
        |a| a.shift(whole(7), a.tail(a.shift(whole(9), ones(a)))),
        &[[whole(7)].as_slice(), &[whole(1); 9]].concat(),
    );
}

fn calculus() {
    let counting: Vec<_> = (1..=10).map(whole).collect();
    check(|a| a.differentiate(ones(a)), &counting);
    let harmonic: Vec<_> = [whole(0)].into_iter().chain((1..10).map(|n| ratio(1, n))).collect();
    check(|a| a.integrate(whole(0), ones(a)), &harmonic);
    check(|a| a.differentiate(a.integrate(whole(5), ones(a))), &[whole(1); 10]);
}

fn reciprocals() {
    check(|a| a.reciprocal(a.polynomial(&[1, -1])), &[whole(1); 10]);
    let back: Vec<_> = [1, -1, 0, 0, 0, 0, 0, 0].map(whole).into();
    check(|a| a.reciprocal(ones(a)), &back);
    let fibonacci: Vec<_> = [1, 1, 2, 3, 5, 8, 13, 21].map(whole).into();
    check(|a| a.reciprocal(a.polynomial(&[1, -1, -1])), &fibonacci);
}

fn the_exponential() {
    let plain = fractions([(1, 1), (1, 1), (1, 2), (1, 6), (1, 24), (1, 120), (1, 720), (1, 5040)]);
    check(|a| a.exponential(a.polynomial(&[0, 1])), &plain);
    // e^(x / (1 - x)): the numbers of partitions into ordered blocks, over n!.
    let blocks = fractions([
        (1, 1),
        (1, 1),
        (3, 2),
        (13, 6),
        (73, 24),
        (167, 40),
        (4051, 720),
        (37_633, 5040),
        (43_817, 4480),
    ]);
    check(|a| a.exponential(a.shift(whole(0), ones(a))), &blocks);
}

/// The alternating series of the arc tangent.
fn arc_tangent(a: &Algebra) -> Series {
    let slope = a.reciprocal(a.polynomial(&[1, 0, 1]));
    a.integrate(whole(0), slope)
}

fn substitution() {
    // 1 / (1 - u) with u = x + x^2 gives the numbers of Fibonacci.
    let fibonacci: Vec<_> = [1, 1, 2, 3, 5, 8, 13].map(whole).into();
    check(|a| a.substitute(ones(a), a.polynomial(&[0, 1, 1])), &fibonacci);
    let powers: Vec<_> = [1, -2, 4, -8, 16, -32].map(whole).into();
    check(|a| a.substitute(ones(a), a.polynomial(&[0, -2])), &powers);
    check(arc_tangent, &fractions([(0, 1), (1, 1), (0, 1), (-1, 3), (0, 1), (1, 5), (0, 1), (-1, 7)]));
}

fn the_tangent_is_the_arc_tangent_reverted() {
    let tangent = fractions([(0, 1), (1, 1), (0, 1), (1, 3), (0, 1), (2, 15), (0, 1), (17, 315)]);
    check(|a| a.revert(arc_tangent(a)), &tangent);
}

fn finite_series_end() {
    let (_done_tx, done) = bounded(0);
    let (works_tx, works) = unbounded();
    let algebra = Algebra::new(done, works_tx);
    let [left, right] = algebra.split(algebra.add(algebra.polynomial(&[1, 2, 3]), algebra.polynomial(&[10])));
    let all = |series: Series| std::iter::from_fn(|| series.get(&algebra)).collect::<Vec<_>>();
    let expected: Vec<_> = [11, 2, 3].map(whole).into();
    // One after the other: the second finds all of it kept, and the end as well.
    assert_eq!(all(left), expected);
    assert_eq!(all(right), expected);
    drop(algebra);
    for work in works {
        work.join();
    }
}
