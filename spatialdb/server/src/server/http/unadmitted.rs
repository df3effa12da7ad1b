//! What strangers say: a few bytes are enough for a Hello or a token, and more are not kept.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use http_body::Frame;
use spatialdb_proto::status_of;

use super::admission::Admission;

/// The body of a call, whose bytes are counted for its connection.
struct Counted {
    body: Body,
    admission: Admission,
}

impl Admission {
    /// The body, which ends with an error where a stranger's calls carry too much.
    pub(super) fn listen(&self, body: Body) -> Body {
        if self.is_granted() { body } else { Body::new(Counted { body, admission: self.clone() }) }
    }
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        let bytes = match &frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
            _ => 0,
        };
        match this.admission.hear(bytes) {
            Ok(()) => Poll::Ready(frame),
            Err(error) => {
                this.admission.refuse(&error);
                Poll::Ready(Some(Err(axum::Error::new(status_of(&error)))))
            }
        }
    }
}
