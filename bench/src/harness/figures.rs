//! Figures of several rounds, and how people write them.

/// The samples of one figure in three numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Summary {
    /// Sums up; `None` if there is nothing to.
    pub fn of(samples: &[f64]) -> Option<Summary> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let middle = sorted.len() / 2;
        let median =
            if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 };
        Some(Summary { median, min, max })
    }

    /// The median with its unit, and the other two behind it unless they are the same.
    pub fn shown(self, unit: &str) -> String {
        let Summary { median, min, max } = self;
        let spread = if min == max { String::new() } else { format!(" ({}-{})", number(min), number(max)) };
        quantity(median, unit) + &spread
    }
}

/// A figure with its unit, as people write them.
pub fn quantity(value: f64, unit: &str) -> String {
    let unit = match unit {
        "per_s" => "/s",
        "bytes" => "B",
        other => other,
    };
    format!("{} {unit}", number(value))
}

/// Three digits that mean something, and commas between thousands.
fn number(value: f64) -> String {
    match value.abs() {
        size if size < 10.0 => return format!("{value:.2}"),
        size if size < 100.0 => return format!("{value:.1}"),
        _ => {}
    }
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_whatever_the_order() {
        assert_eq!(Summary::of(&[9.0, 1.0, 2.0]), Some(Summary { median: 2.0, min: 1.0, max: 9.0 }));
        assert_eq!(Summary::of(&[4.0, 1.0]), Some(Summary { median: 2.5, min: 1.0, max: 4.0 }));
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn numbers_keep_three_digits() {
        let shown: Vec<String> = [0.5, 12.34, 151.6, 70_286.0, 1_234_567.0].map(number).into();
        assert_eq!(shown, ["0.50", "12.3", "152", "70,286", "1,234,567"]);
    }
}
