use core::fmt;

/// Why there is no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fail {
    /// The rule of the specification by which the input is refused.
    Refused(String),
    /// The file or line asks for something that can't be done.
    Wrong(String),
}

/// A result, or why there is none.
pub type Outcome<T> = Result<T, Fail>;

impl Fail {
    /// Refused by the rule of this number.
    pub fn refused(rule: &str) -> Self {
        Self::Refused(rule.to_owned())
    }

    /// Not a thing that can be done.
    pub fn wrong(why: impl Into<String>) -> Self {
        Self::Wrong(why.into())
    }
}

impl fmt::Display for Fail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(rule) => write!(f, "refused by {rule}"),
            Self::Wrong(why) => f.write_str(why),
        }
    }
}

impl core::error::Error for Fail {}
