//! Where the environment holds a credential.

use super::CredentialRequest;

/// What such variables start with unless another prefix is given.
pub const DEFAULT_PREFIX: &str = "GAIT_BROKER_TOKEN_";

/// The variable that holds the credential: the prefix, then reference (or tool) as a name.
pub fn variable(prefix: &str, request: &CredentialRequest) -> String {
    let prefix = if prefix.trim().is_empty() { DEFAULT_PREFIX } else { prefix.trim() };
    let named = if request.reference.is_empty() { &request.tool_name } else { &request.reference };
    format!("{prefix}{}", key(named))
}

/// Upper case; `.` and `-` become `_` each, any other run of characters that no name has one `_`.
fn key(text: &str) -> String {
    let mut key = String::with_capacity(text.len());
    let mut in_run = false;
    for character in text.to_uppercase().chars() {
        match character {
            'A'..='Z' | '0'..='9' | '_' => key.push(character),
            '.' | '-' => key.push('_'),
            _ if in_run => continue,
            _ => key.push('_'),
        }
        in_run = !matches!(character, 'A'..='Z' | '0'..='9' | '_' | '.' | '-');
    }
    match key.trim_matches('_') {
        "" => "DEFAULT".to_owned(),
        trimmed => trimmed.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::key;

    #[test]
    fn names_are_those_of_the_contract() {
        for (text, name) in [
            ("Vault.Prod-Write", "VAULT_PROD_WRITE"),
            ("a..b", "A__B"),
            ("a / b", "A_B"),
            (" .x. ", "X"),
            ("tool.write", "TOOL_WRITE"),
            ("\u{e9}\u{e9}", "DEFAULT"),
            ("", "DEFAULT"),
        ] {
            assert_eq!(key(text), name, "{text}");
        }
    }
}
