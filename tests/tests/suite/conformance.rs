//! Every SDK does the same, and as the plain wire does: one list of scenarios, run on each driver.
//!
//! `tests/conformance/README.md` says what a driver is.

mod driver;
mod package;
mod scenarios;

use spatialdb_tests::{Launch, World};

use self::driver::Kind;

/// One test for each scenario, on one driver.
macro_rules! scenarios {
    ($kind:expr; $($name:ident),* $(,)?) => {$(
        #[test]
        fn $name() {
            super::scenarios::$name($kind);
        }
    )*};
}

macro_rules! drivers {
    ($($module:ident: $kind:expr),* $(,)?) => {
        $(mod $module {
            use super::Kind;

            scenarios! { $kind;
                attaches_under_a_name_and_says_goodbye,
                a_newer_session_of_the_name_replaces_it,
                creates_and_retries,
                ids_are_chosen_from_a_reserved_block,
                whole_values_replace_whole_values,
                each_field_is_set_to_nothing_alone,
                positions_are_written_whole,
                components_are_added_and_removed,
                what_is_deleted_leaves,
                refusals_name_reason_entity_and_component,
                requests_that_cannot_be_are_refused,
                a_view_tells_of_enter_update_and_leave,
                a_view_shows_only_its_components,
                a_changed_view_shows_what_it_matches_now,
                own_updates_come_back_when_asked_for,
                every_constraint_selects,
                what_is_near_an_entity_follows_it,
                rates_go_by_distance,
                questions_are_answered,
                an_interest_is_a_component_like_others,
                an_interest_shows_its_owner_what_it_sees,
                many_entities_arrive_whole,
                numbers_of_64_bits_are_exact,
                heartbeats_show,
                flags_and_schema_are_known,
                a_component_that_is_added_is_usable,
                a_locked_world_lets_in_who_has_a_token,
                it_comes_in_encrypted,
                it_comes_back_after_the_server_was_killed,
                who_owns_an_entity_writes_it,
                in_an_open_world_anything_is_owned,
                a_region_is_handed_over_behind_what_was_written,
                a_drained_worker_gives_all_away,
                who_is_silent_loses_what_it_has,
                who_has_nothing_to_do_does_not_stand_still,
                what_was_owned_goes_with_the_connection,
                events_are_told_once_to_who_has_them_in_view,
                densities_count_by_square_and_type,
            }
        })*
    };
}

drivers! {
    rust: Kind::Rust,
    python: Kind::PythonSdk,
    python_stubs: Kind::PythonStubs,
    typescript: Kind::TypeScript,
    typescript_web: Kind::TypeScriptWeb,
}

fn probe() -> World {
    World::launch(Launch::probe())
}
