//! Values of options, and what is said when they are none.

use std::str::FromStr;

/// A parser of a number; `what` is how messages call it.
pub fn number<T: FromStr>(
    what: &'static str,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    move |text| text.parse().map_err(|_| format!("{what}: cannot parse string '{text}'"))
}

/// A parser of a number that is at least `least`.
pub fn at_least(
    what: &'static str,
    least: f64,
    otherwise: &'static str,
) -> impl Fn(&str) -> Result<f64, String> + Clone + Send + Sync + 'static {
    real(what, move |number| number >= least, otherwise)
}

/// A parser of a number that is more than `least`.
pub fn more_than(
    what: &'static str,
    least: f64,
    otherwise: &'static str,
) -> impl Fn(&str) -> Result<f64, String> + Clone + Send + Sync + 'static {
    real(what, move |number| number > least, otherwise)
}

/// A parser of a number for which something holds; what is said `otherwise`.
fn real(
    what: &'static str,
    holds: impl Fn(f64) -> bool + Clone + Send + Sync + 'static,
    otherwise: &'static str,
) -> impl Fn(&str) -> Result<f64, String> + Clone + Send + Sync + 'static {
    move |text| {
        let number: f64 = number(what)(text)?;
        if holds(number) { Ok(number) } else { Err(otherwise.to_owned()) }
    }
}

/// `yes` or `no`.
pub fn choice(text: &str) -> Result<bool, String> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        other => Err(format!("Invalid choice '{other}', pass one of 'yes' or 'no'")),
    }
}

/// Words between commas.
pub fn list(text: &str) -> Vec<String> {
    text.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_are_none_are_named() {
        let length = number::<i64>("max solution length");
        assert_eq!(length("-5"), Ok(-5));
        assert_eq!(length("3.4"), Err("max solution length: cannot parse string '3.4'".into()));
        let time = at_least("time", 0.0, "Invalid time, expected >= 0");
        assert_eq!(time("0"), Ok(0.0));
        assert_eq!(time("-1"), Err("Invalid time, expected >= 0".into()));
        let ratio = more_than("max cpu ratio", 0.0, "a ratio is more than 0");
        assert_eq!(ratio("0.5"), Ok(0.5));
        for wrong in ["0", "-1", "NaN"] {
            assert_eq!(ratio(wrong), Err("a ratio is more than 0".into()), "{wrong}");
        }
        assert_eq!(choice("x"), Err("Invalid choice 'x', pass one of 'yes' or 'no'".into()));
        assert_eq!(list("a,,b"), ["a", "b"]);
    }
}
