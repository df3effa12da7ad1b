//! The one place where spatialdb errors become gRPC statuses, and back.
//!
//! A status carries a serialised `google.rpc.Status` with one `google.rpc.ErrorInfo`, as AIP-193 asks.

use std::collections::HashMap;

use prost::Message;
use prost_types::Any;
use spatialdb_types::{Error, ErrorCode, Reason};
use tonic::{Code, Status};

use crate::v1;

// The domain of every `ErrorInfo` of spatialdb.
const ERROR_DOMAIN: &str = "spatialdb";

const ERROR_INFO_URL: &str = "type.googleapis.com/google.rpc.ErrorInfo";

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.rpc.ErrorInfo`.
#[derive(Clone, PartialEq, Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
    #[prost(map = "string, string", tag = "3")]
    metadata: HashMap<String, String>,
}

/// The gRPC code of an error code.
pub fn grpc_code(code: ErrorCode) -> Code {
    match code {
        ErrorCode::Invalid => Code::InvalidArgument,
        ErrorCode::NotFound => Code::NotFound,
        ErrorCode::AlreadyExists => Code::AlreadyExists,
        ErrorCode::Unauthenticated => Code::Unauthenticated,
        ErrorCode::Forbidden => Code::PermissionDenied,
        ErrorCode::NotAuthoritative => Code::FailedPrecondition,
        ErrorCode::Conflict => Code::Aborted,
        ErrorCode::Overloaded => Code::ResourceExhausted,
        ErrorCode::Timeout => Code::DeadlineExceeded,
        ErrorCode::Unavailable => Code::Unavailable,
        ErrorCode::DataLoss => Code::DataLoss,
        ErrorCode::Internal => Code::Internal,
    }
}

/// The code of an error as the wire's enum.
pub fn wire_code(code: ErrorCode) -> v1::ErrorCode {
    match code {
        ErrorCode::Invalid => v1::ErrorCode::Invalid,
        ErrorCode::NotFound => v1::ErrorCode::NotFound,
        ErrorCode::AlreadyExists => v1::ErrorCode::AlreadyExists,
        ErrorCode::Unauthenticated => v1::ErrorCode::Unauthenticated,
        ErrorCode::Forbidden => v1::ErrorCode::Forbidden,
        ErrorCode::NotAuthoritative => v1::ErrorCode::NotAuthoritative,
        ErrorCode::Conflict => v1::ErrorCode::Conflict,
        ErrorCode::Overloaded => v1::ErrorCode::Overloaded,
        ErrorCode::Timeout => v1::ErrorCode::Timeout,
        ErrorCode::Unavailable => v1::ErrorCode::Unavailable,
        ErrorCode::DataLoss => v1::ErrorCode::DataLoss,
        ErrorCode::Internal => v1::ErrorCode::Internal,
    }
}

/// The gRPC status of an error, with its reason in an `ErrorInfo`.
pub fn status_of(error: &Error) -> Status {
    let code = grpc_code(error.reason.code());
    let message = format!("{}: {}", error.reason.name(), error.detail);
    let info = ErrorInfo {
        reason: error.reason.name().to_owned(),
        domain: ERROR_DOMAIN.to_owned(),
        metadata: HashMap::from([("detail".to_owned(), error.detail.clone())]),
    };
    let details = RpcStatus {
        code: code as i32,
        message: message.clone(),
        details: vec![Any { type_url: ERROR_INFO_URL.to_owned(), value: info.encode_to_vec() }],
    };
    Status::with_details(code, message, details.encode_to_vec().into())
}

/// The error inside a status that [`status_of`] made; `None` for any other status.
pub fn error_of_status(status: &Status) -> Option<Error> {
    let details = RpcStatus::decode(status.details()).ok()?;
    let info = details.details.iter().find(|any| any.type_url == ERROR_INFO_URL)?;
    let info = ErrorInfo::decode(info.value.as_slice()).ok()?;
    let reason = Reason::from_name(&info.reason)?;
    Some(Error::new(reason, info.metadata.get("detail").cloned().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_survives_a_status() {
        for reason in Reason::ALL {
            let error = Error::new(*reason, "the thing and its limit");
            let status = status_of(&error);
            assert_eq!(status.code(), grpc_code(reason.code()));
            assert_eq!(error_of_status(&status), Some(error));
        }
    }

    #[test]
    fn a_foreign_status_is_no_error_of_ours() {
        assert_eq!(error_of_status(&Status::internal("proxy")), None);
    }
}
