//! Experiments that an error ends early.

use crate::lab::LabError;

/// What ended an experiment early, if something did. Before anything is measured, the error is all that there is.
pub(super) fn early(ended: Result<(), LabError>, is_empty: bool) -> Result<Option<String>, LabError> {
    match ended {
        Ok(()) => Ok(None),
        Err(error) if is_empty => Err(error),
        Err(error) => Ok(Some(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_a_remark_once_something_was_measured() {
        let failed = || Err(LabError::Stuck("it hangs".into()));
        assert!(matches!(early(Ok(()), true), Ok(None)));
        assert!(early(failed(), true).is_err());
        assert_eq!(early(failed(), false).unwrap(), Some("it hangs".to_owned()));
    }
}
