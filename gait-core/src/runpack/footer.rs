//! The ticket footer: one line that names a run by its digest (contract, artifacts 4.2).

/// What may be in a footer and in the file name of a runpack: `^[A-Za-z0-9_-]+$`.
pub fn is_plain_run_id(run_id: &str) -> bool {
    !run_id.is_empty() && run_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// A run id that can't be part of a footer or file name, or a digest that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ticket footer contract validation failed")]
pub struct FooterError;

/// `GAIT run_id=<id> manifest=sha256:<digest> verify="gait verify <id>"`
///
/// # Errors
/// [`FooterError`] if that would not be of the form that readers of footers expect.
pub fn ticket_footer(run_id: &str, manifest_digest: &str) -> Result<String, FooterError> {
    let is_digest = crate::digest::Sha256Hex::parse(manifest_digest).is_ok();
    if !is_plain_run_id(run_id) || !is_digest {
        return Err(FooterError);
    }
    Ok(format!("GAIT run_id={run_id} manifest=sha256:{manifest_digest} verify=\"gait verify {run_id}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_footer_has_the_form_of_the_contract() {
        let digest = "88913ed84855671786b9ecc3eab94f760332a6c19a3ff2195ab8afd914d57725";
        assert_eq!(
            ticket_footer("run_demo", digest).unwrap(),
            format!("GAIT run_id=run_demo manifest=sha256:{digest} verify=\"gait verify run_demo\"")
        );
        for (run_id, digest) in [("x y", digest), ("", digest), ("../x", digest), ("run_demo", "abc")] {
            assert_eq!(ticket_footer(run_id, digest), Err(FooterError));
        }
    }
}
