//! What the server measures, for Prometheus at `/metrics`.
//!
//! Counters and histograms are kept as things happen; gauges are read from partitions and sessions when asked for, so
//! that nothing is left of a session that has ended.

use std::fmt::Write;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use metrics::{Unit, describe_counter, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::edge::Edge;
use crate::supervisor::WorkerCount;

static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

const SECONDS: [f64; 10] = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0];

/// Starts to keep counters and histograms. A second world of the same process shares them.
pub(super) fn install() {
    HANDLE.get_or_init(|| {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
            .map(PrometheusBuilder::install_recorder);
        let handle = match builder {
            Ok(Ok(handle)) => handle,
            Ok(Err(error)) | Err(error) => {
                tracing::warn!(%error, "metrics are not kept");
                return None;
            }
        };
        describe_histogram!(
            "spatialdb_session_frame_staleness_seconds",
            Unit::Seconds,
            "From the publish of a change to its frame being taken by the connection."
        );
        describe_histogram!(
            "spatialdb_partition_publish_seconds",
            Unit::Seconds,
            "What one publish of a partition took."
        );
        describe_counter!(
            "spatialdb_edge_unknown_fields_total",
            Unit::Count,
            "Fields of accepted values that the schema does not know."
        );
        describe_counter!(
            "spatialdb_session_rejections_total",
            Unit::Count,
            "Rows and messages of sessions that were refused, by reason."
        );
        describe_counter!(
            "spatialdb_session_interests_left_out_total",
            Unit::Count,
            "How often the views that an entity gives its owner's session were left out."
        );
        describe_histogram!(
            "spatialdb_authority_unowned_seconds",
            Unit::Seconds,
            "From the moment a region loses its owner to its new owner being told, by layer."
        );
        describe_histogram!(
            "spatialdb_authority_first_write_seconds",
            Unit::Seconds,
            "From an owner being told of its region to its first accepted write there, by layer."
        );
        describe_histogram!(
            "spatialdb_authority_pass_seconds",
            Unit::Seconds,
            "What one pass of the balancer took of the issuer's time."
        );
        describe_histogram!(
            "spatialdb_log_append_seconds",
            Unit::Seconds,
            "What it took to put records where a crash does not take them."
        );
        describe_counter!("spatialdb_session_events_total", Unit::Count, "Events that sessions were told.");
        describe_counter!(
            "spatialdb_session_events_missed_total",
            Unit::Count,
            "Events that sessions were told to have missed."
        );
        Some(handle)
    });
}

/// Everything in Prometheus' text format.
pub(super) fn render(edge: &Edge) -> String {
    let mut text = match HANDLE.get() {
        Some(Some(handle)) => {
            handle.run_upkeep();
            handle.render()
        }
        _ => String::new(),
    };
    partitions(edge, &mut text);
    traffic(edge, &mut text);
    sessions(edge, &mut text);
    authority(edge, &mut text);
    workers(edge, &mut text);
    log(edge, &mut text);
    snapshots(edge, &mut text);
    text
}

fn snapshots(edge: &Edge, text: &mut String) {
    let all = [
        ("spatialdb_snapshots_total", "Snapshots taken of the running world.", edge.captures.taken()),
        ("spatialdb_snapshots_failed_total", "Snapshots that could not be taken.", edge.captures.failed()),
    ];
    for (name, help, value) in all {
        head(text, name, "counter", help);
        let _ = writeln!(text, "{name} {value}");
    }
}

/// Of a world with a data directory.
fn log(edge: &Edge, text: &mut String) {
    let Some(status) = &edge.log else { return };
    let all = [
        ("spatialdb_log_bytes_total", "counter", "Bytes of records that are on disk.", &status.bytes),
        ("spatialdb_log_records_total", "counter", "Records that are on disk.", &status.records),
        ("spatialdb_checkpoints_total", "counter", "Checkpoints that count, or did.", &status.checkpoints),
        (
            "spatialdb_storage_bytes",
            "gauge",
            "Bytes of the data directory, once a second.",
            &status.stored_bytes,
        ),
    ];
    for (name, kind, help, value) in all {
        head(text, name, kind, help);
        let _ = writeln!(text, "{name} {}", value.load(Ordering::Relaxed));
    }
    let failed = u64::from(status.failure.get().is_some());
    head(text, "spatialdb_log_failed", "gauge", "1 since the data directory takes nothing more.");
    let _ = writeln!(text, "spatialdb_log_failed {failed}");
}

fn partitions(edge: &Edge, text: &mut String) {
    type Read = fn(&super::partition::Gauges) -> u64;
    let gauges: [(&str, &str, &str, Read); 9] = [
        ("spatialdb_partition_queue_rows", "gauge", "Rows that wait for a partition.", |g| {
            g.queue_rows.load(Ordering::Relaxed)
        }),
        (
            "spatialdb_partition_moves_in_flight",
            "gauge",
            "Moves to other partitions that have not settled.",
            |g| g.moves_in_flight.load(Ordering::Relaxed),
        ),
        (
            "spatialdb_partition_holds_back",
            "gauge",
            "1 while too many moves keep sessions from being read.",
            |g| u64::from(g.holds_back.load(Ordering::Relaxed)),
        ),
        ("spatialdb_partition_entities", "gauge", "Entities in a partition.", |g| {
            g.entities.load(Ordering::Relaxed)
        }),
        ("spatialdb_partition_cells", "gauge", "Cells of a partition that hold an entity.", |g| {
            g.cells.load(Ordering::Relaxed)
        }),
        (
            "spatialdb_partition_squares",
            "gauge",
            "Squares of all sizes that a partition counts entities in, while a view asks for densities.",
            |g| g.squares.load(Ordering::Relaxed),
        ),
        (
            "spatialdb_views_shadow_checks_total",
            "counter",
            "How often a piece of what a session is shown was compared with what its views match.",
            |g| g.shadow_checks.load(Ordering::Relaxed),
        ),
        ("spatialdb_views_shadow_mismatches_total", "counter", "How often that differed: a fault.", |g| {
            g.shadow_mismatches.load(Ordering::Relaxed)
        }),
        ("spatialdb_partition_updates_applied_total", "counter", "Rows that a partition has decided.", |g| {
            g.updates_applied.load(Ordering::Relaxed)
        }),
    ];
    for (name, kind, help, read) in gauges {
        head(text, name, kind, help);
        for partition in &edge.partitions {
            let (id, value) = (partition.id, read(&partition.gauges));
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name}{{partition=\"{id}\"}} {value}");
        }
    }
}

fn traffic(edge: &Edge, text: &mut String) {
    let counters = [
        ("spatialdb_frames_encoded_bytes_total", "Bytes of frames that were encoded.", &edge.traffic.encoded),
        (
            "spatialdb_frames_sent_bytes_total",
            "Bytes of frames that were sent: what many are sent alike is encoded once.",
            &edge.traffic.sent,
        ),
    ];
    for (name, help, value) in counters {
        head(text, name, "counter", help);
        let _ = writeln!(text, "{name} {}", value.load(Ordering::Relaxed));
    }
}

fn sessions(edge: &Edge, text: &mut String) {
    head(text, "spatialdb_edge_sessions", "gauge", "Open sessions.");
    let _ = writeln!(text, "spatialdb_edge_sessions {}", edge.session_count());
    let name = "spatialdb_edge_interests";
    head(
        text,
        name,
        "gauge",
        "Entities with Interest and an owner, who gets their views if there is a session.",
    );
    let _ = writeln!(text, "{name} {}", edge.interests.entity_count());
    let name = "spatialdb_session_staleness_seconds";
    head(
        text,
        name,
        "gauge",
        "Age of the oldest change that waits for a session, or of the last one when taken.",
    );
    let now = edge.clock.now();
    for port in &edge.sessions {
        let stats = &port.stats;
        let seconds = stats.staleness_us(now) as f64 / 1e6;
        // Types and names have no character that needs escaping.
        let (worker_type, worker) = (&stats.worker_type, &stats.name);
        let _ = writeln!(text, "{name}{{worker_type=\"{worker_type}\",worker=\"{worker}\"}} {seconds}");
    }
}

fn authority(edge: &Edge, text: &mut String) {
    let Some(standing) = edge.authority.standing() else { return };
    let (regions, unowned) = ("spatialdb_authority_regions", "spatialdb_authority_regions_unowned");
    let gauges = [(regions, "Regions of a layer."), (unowned, "Regions of a layer that nobody owns.")];
    for (name, help) in gauges {
        head(text, name, "gauge", help);
        for (&layer, &(all, free)) in &standing.regions {
            let (layer, value) = (&edge.layers.get(layer).name, if name == unowned { free } else { all });
            let _ = writeln!(text, "{name}{{layer=\"{layer}\"}} {value}");
        }
    }
    let name = "spatialdb_authority_workers_wanted";
    head(text, name, "gauge", "Workers of a type that should be there, as the balancer sees it.");
    for (worker_type, wanted) in &standing.wanted {
        let _ = writeln!(text, "{name}{{worker_type=\"{worker_type}\"}} {wanted}");
    }
}

fn workers(edge: &Edge, text: &mut String) {
    type Read = fn(&WorkerCount) -> usize;
    let gauges: [(&str, &str, Read); 3] = [
        (
            "spatialdb_workers_wanted",
            "Workers of [[workers]] that should be there: what is asked for, within min and max.",
            |count| count.wanted,
        ),
        (
            "spatialdb_workers_running",
            "Processes of [[workers]] that run, those that are about to end among them.",
            |count| count.running,
        ),
        (
            "spatialdb_workers_occupied",
            "Workers of [[workers]] without a process, because another one holds their name.",
            |count| count.occupied,
        ),
    ];
    let Some(link) = &edge.workers else { return };
    let counts = link.counts.borrow();
    for (name, help, read) in gauges.into_iter().filter(|_| !counts.is_empty()) {
        head(text, name, "gauge", help);
        for (worker_type, count) in counts.iter() {
            let _ = writeln!(text, "{name}{{worker_type=\"{worker_type}\"}} {}", read(count));
        }
    }
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}
