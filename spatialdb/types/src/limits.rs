//! Every bound of the server, by name.

macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident = $default:expr;)*) => {
        /// The bounds of a server. Everything bounded has its name here; `Welcome` tells them to workers.
        ///
        /// # Units
        /// The name ends with what it counts.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Limits { $($(#[$doc])* pub $name: u64,)* }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        impl Limits {
            /// Every limit as (name, value), in the order of declaration.
            pub fn entries(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }

            /// The limit of that name, to set it from a configuration.
            pub fn get_mut(&mut self, name: &str) -> Option<&mut u64> {
                match name { $(stringify!($name) => Some(&mut self.$name),)* _ => None }
            }
        }
    };
}

limits! {
    /// One message from a client.
    message_bytes_max = 4 << 20;
    /// Columns of one client message.
    message_columns_max = 1024;
    /// Fields that one column may list.
    column_fields_max = 1024;
    /// Rows of all columns of one client message.
    message_rows_max = 65_536;
    /// One frame to a client.
    frame_bytes_max = 1 << 20;
    /// One component value.
    value_bytes_max = 256 << 10;
    /// Rejections named in one frame; beyond it only counts.
    rejections_per_frame_max = 256;
    /// Sessions at once.
    sessions_max = 1024;
    /// Sessions at once of one principal.
    principal_sessions_max = 1024;
    /// Views of all sessions of one principal.
    principal_views_max = 65_536;
    /// Connections at once.
    connections_max = 4096;
    /// Connections at once that have not shown who they are.
    connections_unadmitted_max = 256;
    /// Bytes that all calls of one connection may carry before it has shown who it is.
    connection_unadmitted_bytes_max = 256 << 10;
    /// Views of one session.
    session_views_max = 64;
    /// Views and distance bands of one session; at most 64.
    session_view_parts_max = 64;
    /// Entities whose Interest may give one session views.
    session_interests_max = 64;
    /// Squares with something in them of all views of densities of one session, each type apart; beyond it the view with the
    /// most of them gets larger ones.
    session_density_squares_max = 65_536;
    /// Types that one partition counts apart; those of more are counted together, as "*".
    density_types_max = 256;
    /// Bytes of a type that is counted apart; longer ones are counted as "*".
    density_type_bytes_max = 256;
    /// Events that wait for one session in one partition; what comes beyond is counted as missed. Half as many since its last
    /// publish make a partition publish at once.
    session_events_max = 16_384;
    /// The same in bytes: payloads, and 64 for each event.
    session_event_bytes_max = 8 << 20;
    /// Messages of one session that are received and not yet decided.
    session_messages_in_flight_max = 4096;
    /// Nesting of one constraint.
    constraint_depth_max = 16;
    /// Nodes of one constraint.
    constraint_nodes_max = 256;
    /// Nodes of the constraints of all views of one session.
    session_constraint_nodes_max = 1024;
    /// Ids in the constraints of one view.
    constraint_entities_max = 65_536;
    /// Constants of one field test.
    constraint_values_max = 1024;
    /// Distance bands of one view.
    view_bands_max = 8;
    /// Bytes of the text form of one constraint.
    constraint_text_bytes_max = 4096;
    /// Frames a second that a view may ask for.
    view_rate_hz_max = 1000;
    /// Seconds between two frames of a view that asks for a low rate.
    view_interval_s_max = 3600;
    /// Rows that wait for one partition; beyond it sessions are read no further.
    partition_queue_rows_max = 131_072;
    /// Moves of one partition that its peers have not confirmed; beyond it, it takes no outside work.
    partition_moves_in_flight_max = 16_384;
    /// Writes that wait in one partition for a move to settle; beyond it, it takes no outside work.
    partition_writes_parked_max = 65_536;
    /// Ids in one reserved block.
    reserve_ids_max = 1 << 20;
    /// Blocks with unused ids that one worker may have.
    reserved_blocks_max = 1024;
    /// Blocks of reserved ids that are remembered for all workers, oldest forgotten first.
    reserved_blocks_remembered_max = 65_536;
    /// Requests to create that are remembered for all workers, oldest forgotten first.
    create_requests_remembered_max = 65_536;
    /// Bytes of a request_id.
    request_id_bytes_max = 64;
    /// One-off queries whose answers are being sent; more wait a while and are then refused.
    queries_at_once_max = 8;
    /// Streams at once that tell who owns what.
    authority_watchers_max = 1024;
    /// Entities of which one partition remembers the last refused write, for `explain`; the oldest are forgotten first.
    refusals_kept_max = 1024;
    /// Flags of one worker type.
    worker_flags_max = 256;
    /// Name and value of one flag.
    worker_flag_bytes_max = 4096;
    /// Component types of a schema.
    schema_components_max = 4096;
    /// Events of a schema.
    schema_events_max = 4096;
    /// Layers of a world.
    layers_max = 64;
    /// Regions that one layer may have in all spaces.
    layer_regions_max = 1024;
    /// Components of entities that tools hold at once.
    holds_max = 4096;
    /// Milliseconds that a tool may hold a component without asking again.
    hold_ms_max = 300_000;
    /// Distance of a position from the origin of its space, on each axis.
    position_abs_m_max = 1 << 40;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_set_by_name() {
        let mut limits = Limits::default();
        *limits.get_mut("sessions_max").expect("known") = 7;
        assert_eq!(limits.sessions_max, 7);
        assert!(limits.entries().contains(&("sessions_max", 7)));
        assert!(limits.get_mut("no_such_limit").is_none());
    }
}
