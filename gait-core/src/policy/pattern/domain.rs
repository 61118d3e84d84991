//! Patterns of domains.

use std::sync::{Arc, OnceLock};

use super::glob::{Stars, literal_chars, parse_glob};
use super::program::Program;
use super::{Token, Validity};

/// A pattern of `domain_allowlist` or `domain_denylist`: lower case, `*` for any run of characters. Copies share what was read,
/// when it was first asked.
#[derive(Clone, Debug)]
pub struct DomainPattern(Arc<DomainText>);

#[derive(Debug)]
struct DomainText {
    text: String,
    program: OnceLock<Option<Program>>,
}

impl PartialEq for DomainPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for DomainPattern {}

impl DomainPattern {
    /// A pattern from its text, which the policy has lower-cased. Every text is one.
    pub fn parse(text: &str) -> Self {
        Self(Arc::new(DomainText { text: text.to_owned(), program: OnceLock::new() }))
    }

    /// The pattern as normalised in the policy.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// Whether it is a valid glob.
    pub fn validity(&self) -> Validity {
        if self.program().is_some() { Validity::Glob } else { Validity::Malformed }
    }

    /// What it means: a domain matches if it matches one of these token sequences as a whole.
    pub fn alternatives(&self) -> Vec<Vec<Token>> {
        std::iter::once(literal_chars(self.text())).chain(parse_glob(self.text(), Stars::Runs)).collect()
    }

    /// Whether the lower-case domain `domain` matches. `*.example.com` matches any depth of sub-domain,
    /// but not `example.com` itself.
    pub fn matches(&self, domain: &str) -> bool {
        self.text() == domain || self.program().is_some_and(|program| program.matches(domain))
    }

    fn program(&self) -> Option<&Program> {
        let read = || parse_glob(self.text(), Stars::Runs).map(|tokens| Program::new(&tokens));
        self.0.program.get_or_init(read).as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_match_as_the_contract_says() {
        for (pattern, domain, want) in [
            ("example.com", "example.com", true),
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "a.b.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "badexample.com", false),
            ("*", "anything.example", true),
            ("api?.example.com", "api1.example.com", true),
            ("[", "[", true),
            ("[", "a", false),
        ] {
            assert_eq!(DomainPattern::parse(pattern).matches(domain), want, "{pattern} {domain}");
        }
    }
}
