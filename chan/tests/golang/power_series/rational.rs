//! Exact fractions. Overflow panics, and with it the test.

use std::ops::{Add, Mul, Neg};

/// In lowest terms, with a denominator above zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rational {
    numerator: i128,
    denominator: i128,
}

pub fn ratio(numerator: i128, denominator: i128) -> Rational {
    assert_ne!(denominator, 0);
    let divisor = gcd(numerator, denominator) * denominator.signum();
    Rational { numerator: numerator / divisor, denominator: denominator / divisor }
}

pub fn whole(n: i128) -> Rational {
    ratio(n, 1)
}

fn gcd(a: i128, b: i128) -> i128 {
    if b == 0 { a.abs() } else { gcd(b, a % b) }
}

impl Rational {
    pub fn inverse(self) -> Rational {
        ratio(self.denominator, self.numerator)
    }
}

impl Add for Rational {
    type Output = Rational;

    fn add(self, other: Rational) -> Rational {
        let divisor = gcd(self.denominator, other.denominator);
        let (mine, its) = (other.denominator / divisor, self.denominator / divisor);
        ratio(self.numerator * mine + other.numerator * its, self.denominator * mine)
    }
}

impl Mul for Rational {
    type Output = Rational;

    fn mul(self, other: Rational) -> Rational {
        // Reduced crosswise first, so that the products are as small as they can be.
        let (a, b) = (ratio(self.numerator, other.denominator), ratio(other.numerator, self.denominator));
        Rational { numerator: a.numerator * b.numerator, denominator: a.denominator * b.denominator }
    }
}

impl Neg for Rational {
    type Output = Rational;

    fn neg(self) -> Rational {
        Rational { numerator: -self.numerator, ..self }
    }
}
