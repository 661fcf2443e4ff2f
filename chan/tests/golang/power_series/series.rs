//! Power series as flows of coefficients, each computed by a party of its own when it is asked for.
//!
//! A series is two channels: a request goes one way, the next coefficient comes back the other way, and a closed channel
//! is the end of the series. Nothing is computed before it is asked for, so series may be infinite, and may be
//! defined in terms of themselves.

use super::rational::{Rational, ratio, whole};
use narrowboat_chan::{Receiver, Sender, bounded, never, select};
use narrowboat_testing::{Work, go};
use std::collections::VecDeque;

/// The end of a series where it is read.
pub struct Series {
    requests: Sender<()>,
    terms: Receiver<Rational>,
}

/// The end of a series where it is made.
struct Outlet {
    requests: Receiver<()>,
    terms: Sender<Rational>,
}

fn open() -> (Outlet, Series) {
    let (request, requests) = bounded(0);
    let (term, terms) = bounded(0);
    (Outlet { requests, terms: term }, Series { requests: request, terms })
}

/// Which goroutines compute, and until when.
#[derive(Clone)]
pub struct Algebra {
    done: Receiver<()>,
    works: Sender<Work<()>>,
}

impl Outlet {
    /// Waits for a request; `None` if there will be none any more.
    fn asked(&self, algebra: &Algebra) -> Option<()> {
        select! { recv(self.requests) -> request => request.ok(), recv(algebra.done) -> _ => None }
    }

    fn answer(&self, algebra: &Algebra, term: Rational) -> Option<()> {
        select! { send(self.terms, term) -> sent => sent.ok(), recv(algebra.done) -> _ => None }
    }

    fn put(&self, algebra: &Algebra, term: Rational) -> Option<()> {
        self.asked(algebra)?;
        self.answer(algebra, term)
    }

    /// Goes on as another series does.
    fn copy(&self, algebra: &Algebra, series: Series) -> Option<()> {
        loop {
            self.asked(algebra)?;
            self.answer(algebra, series.get(algebra)?)?;
        }
    }
}

impl Series {
    fn ask(&self, algebra: &Algebra) -> Option<()> {
        select! { send(self.requests, ()) -> sent => sent.ok(), recv(algebra.done) -> _ => None }
    }

    fn take(&self, algebra: &Algebra) -> Option<Rational> {
        select! { recv(self.terms) -> term => term.ok(), recv(algebra.done) -> _ => None }
    }

    /// The next coefficient; `None` at the end.
    pub fn get(&self, algebra: &Algebra) -> Option<Rational> {
        self.ask(algebra)?;
        self.take(algebra)
    }
}

impl Algebra {
    pub fn new(done: Receiver<()>, works: Sender<Work<()>>) -> Algebra {
        Algebra { done, works }
    }

    fn start(&self, party: impl FnOnce(&Algebra) -> Option<()> + Send + 'static) {
        let algebra = self.clone();
        let work = go(move || {
            party(&algebra);
        });
        // If the handles are not collected any more, nothing waits for the work either.
        let _ = self.works.send(work);
    }

    fn series(&self, maker: impl FnOnce(&Algebra, &Outlet) -> Option<()> + Send + 'static) -> Series {
        let (outlet, series) = open();
        self.start(move |algebra| maker(algebra, &outlet));
        series
    }

    /// All coefficients are `c`: c / (1 - x).
    pub fn repeat(&self, c: Rational) -> Series {
        self.series(move |algebra, out| {
            loop {
                out.put(algebra, c)?;
            }
        })
    }

    pub fn polynomial(&self, coefficients: &[i128]) -> Series {
        let coefficients = coefficients.to_vec();
        self.series(move |algebra, out| coefficients.into_iter().try_for_each(|c| out.put(algebra, whole(c))))
    }

    pub fn add(&self, u: Series, v: Series) -> Series {
        self.series(move |algebra, out| {
            loop {
                out.asked(algebra)?;
                let asked = (u.ask(algebra), v.ask(algebra));
                let terms = (asked.0.and_then(|()| u.take(algebra)), asked.1.and_then(|()| v.take(algebra)));
                match terms {
                    (Some(a), Some(b)) => out.answer(algebra, a + b)?,
                    (Some(a), None) => {
                        out.answer(algebra, a)?;
                        return out.copy(algebra, u);
                    }
                    (None, Some(b)) => {
                        out.answer(algebra, b)?;
                        return out.copy(algebra, v);
                    }
                    (None, None) => return None,
                }
            }
        })
    }

    /// A function of each coefficient and of its place.
    fn map(&self, u: Series, f: impl Fn(i128, Rational) -> Rational + Send + 'static) -> Series {
        self.series(move |algebra, out| {
            for n in 0.. {
                out.asked(algebra)?;
                out.answer(algebra, f(n, u.get(algebra)?))?;
            }
            None
        })
    }

    pub fn scale(&self, c: Rational, u: Series) -> Series {
        self.map(u, move |_, a| c * a)
    }

    /// c + x U
    pub fn shift(&self, c: Rational, u: Series) -> Series {
        self.series(move |algebra, out| {
            out.put(algebra, c)?;
            out.copy(algebra, u)
        })
    }

    /// (U - u) / x
    pub fn tail(&self, u: Series) -> Series {
        self.series(move |algebra, out| {
            out.asked(algebra)?;
            u.get(algebra)?;
            out.answer(algebra, u.get(algebra)?)?;
            out.copy(algebra, u)
        })
    }

    pub fn differentiate(&self, u: Series) -> Series {
        let tail = self.tail(u);
        self.map(tail, |n, a| whole(n + 1) * a)
    }

    pub fn integrate(&self, constant: Rational, u: Series) -> Series {
        let divided = self.map(u, |n, a| ratio(1, n + 1) * a);
        self.shift(constant, divided)
    }

    /// Two readers of one series, each at its own pace.
    pub fn split(&self, u: Series) -> [Series; 2] {
        let ((out1, series1), (out2, series2)) = (open(), open());
        self.tee(u, [out1, out2]);
        [series1, series2]
    }

    /// Keeps for the slower reader what the faster has had. While it waits for its input it serves requests, because
    /// the input may be computed from one of its own outputs.
    fn tee(&self, input: Series, outlets: [Outlet; 2]) {
        self.start(move |algebra| {
            let nothing = never();
            let no_request = never();
            let mut outlets = outlets.map(Some);
            let mut queues = [VecDeque::new(), VecDeque::new()];
            let (mut hungry, mut waiting, mut ended) = ([false; 2], false, false);
            loop {
                for i in 0..2 {
                    let Some(outlet) = &outlets[i] else { continue };
                    match queues[i].pop_front() {
                        Some(term) if hungry[i] => {
                            // A reader that has gone needs nothing more.
                            hungry[i] = false;
                            if outlet.answer(algebra, term).is_none() {
                                outlets[i] = None;
                            }
                        }
                        Some(term) => queues[i].push_front(term),
                        None if hungry[i] && ended => outlets[i] = None,
                        None if hungry[i] && !waiting => match input.ask(algebra) {
                            Some(()) => waiting = true,
                            None => (ended, outlets[i]) = (true, None),
                        },
                        None => {}
                    }
                }
                // An arm that makes no sense now listens to a channel that is silent for ever.
                let requests = |i: usize| match &outlets[i] {
                    Some(outlet) if !hungry[i] => &outlet.requests,
                    _ => &no_request,
                };
                if outlets.iter().all(Option::is_none) {
                    return None;
                }
                select! {
                    recv(requests(0)) -> request => match request {
                        Ok(()) => hungry[0] = true,
                        Err(_) => outlets[0] = None,
                    },
                    recv(requests(1)) -> request => match request {
                        Ok(()) => hungry[1] = true,
                        Err(_) => outlets[1] = None,
                    },
                    recv(if waiting { &input.terms } else { &nothing }) -> term => {
                        waiting = false;
                        match term {
                            Ok(term) => queues.iter_mut().for_each(|queue| queue.push_back(term)),
                            Err(_) => ended = true,
                        }
                    }
                    recv(algebra.done) -> _ => return None,
                }
            }
        });
    }

    /// With U = u + x U' and V = v + x V': u v + x (u V' + v U') + x^2 U' V'
    pub fn multiply(&self, u: Series, v: Series) -> Series {
        self.series(move |algebra, out| {
            out.asked(algebra)?;
            let (a, b) = (u.get(algebra)?, v.get(algebra)?);
            out.answer(algebra, a * b)?;
            let ([u1, u2], [v1, v2]) = (algebra.split(u), algebra.split(v));
            let cross = algebra.add(algebra.scale(a, v1), algebra.scale(b, u1));
            out.asked(algebra)?;
            out.answer(algebra, cross.get(algebra)?)?;
            out.copy(algebra, algebra.add(cross, algebra.multiply(u2, v2)))
        })
    }

    /// A series that is computed from itself: `f` gets one reader of what it makes, the caller the other.
    fn knot(&self, f: impl FnOnce(Series) -> Series) -> Series {
        let ((out1, inner), (out2, outer)) = (open(), open());
        self.tee(f(inner), [out1, out2]);
        outer
    }

    /// 1 / U. From (u + x U') (z + x Z') = 1 follows z = 1 / u and Z' = -z U' Z.
    pub fn reciprocal(&self, u: Series) -> Series {
        self.series(move |algebra, out| {
            out.asked(algebra)?;
            let z = u.get(algebra)?.inverse();
            out.answer(algebra, z)?;
            let rest = algebra.knot(|rest| algebra.multiply(algebra.scale(-z, u), algebra.shift(z, rest)));
            out.copy(algebra, rest)
        })
    }

    /// e^U, for a U without constant: its derivative is U' e^U.
    pub fn exponential(&self, u: Series) -> Series {
        let slope = self.differentiate(u);
        self.knot(|whole_series| self.integrate(whole(1), self.multiply(whole_series, slope)))
    }

    /// U(V), for a V without constant: with V = x V', it is u + x V' U'(V).
    pub fn substitute(&self, u: Series, v: Series) -> Series {
        self.series(move |algebra, out| {
            let [v1, v2] = algebra.split(v);
            out.asked(algebra)?;
            out.answer(algebra, u.get(algebra)?)?;
            let rest = algebra.substitute(u, v2);
            out.copy(algebra, algebra.multiply(algebra.tail(v1), rest))
        })
    }

    /// The inverse function R of a U without constant: with U = x U' and R = x R', R' = 1 / U'(R).
    pub fn revert(&self, u: Series) -> Series {
        let stretched = self.tail(u);
        let rest = self.knot(|rest| {
            let inverse = self.shift(whole(0), rest);
            self.reciprocal(self.substitute(stretched, inverse))
        });
        self.shift(whole(0), rest)
    }
}
