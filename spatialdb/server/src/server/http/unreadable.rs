//! Calls whose message cannot be read: the caller's fault, not the server's, which is what tonic answers.

use axum::response::Response;
use spatialdb_proto::status_of;
use spatialdb_types::{Error, Reason};
use tonic::{Code, Status};

/// How tonic's answer begins.
const UNREADABLE: &str = "failed to decode Protobuf message: ";

/// What it says of a message that is nested too deep. Only constraints are.
const TOO_DEEP: &str = "recursion limit reached";

/// Says what is wrong with the call's message, if it could not be read.
pub(super) fn explain(response: &mut Response) {
    let Some(status) = Status::from_header_map(response.headers()) else { return };
    if status.code() != Code::Internal {
        return;
    }
    let Some(detail) = status.message().strip_prefix(UNREADABLE) else { return };
    // In front of it stands each field on the way there.
    let cause = detail.rsplit(": ").next().unwrap_or(detail);
    let error = if cause == TOO_DEEP {
        let detail =
            "the message is nested deeper than protobuf reads; a constraint goes up to constraint_depth_max";
        Error::new(Reason::QueryInvalid, detail)
    } else {
        Error::new(Reason::MessageMalformed, format!("not a message of this call: {cause}"))
    };
    // It has room for any status.
    let _ = status_of(&error).add_header(response.headers_mut());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(status: Status) -> Status {
        let mut response = status.into_http();
        explain(&mut response);
        Status::from_header_map(response.headers()).expect("a status")
    }

    #[test]
    fn what_cannot_be_read_is_the_callers_fault() {
        let deep = format!("{UNREADABLE}{}{TOO_DEEP}", "Constraint.kind: ".repeat(100));
        let status = explained(Status::internal(deep));
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains("constraint_depth_max"), "{status:?}");
        let status = explained(Status::internal(format!("{UNREADABLE}QueryRequest.limit: invalid varint")));
        let error = spatialdb_proto::error_of_status(&status).expect("ours");
        assert_eq!(error.reason, Reason::MessageMalformed);
        assert_eq!(error.detail, "not a message of this call: invalid varint");
    }

    #[test]
    fn other_answers_stay_as_they_are() {
        for status in [Status::internal("a bug"), Status::not_found(format!("{UNREADABLE}x"))] {
            let after = explained(status.clone());
            assert_eq!((after.code(), after.message()), (status.code(), status.message()));
        }
    }
}
