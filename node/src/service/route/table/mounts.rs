//! Mounts of engines.

use conclave_core::plan::Operation::{Delete, Read, Write};

use super::super::{Action, Place, Route};
use super::token;

pub(super) const ROUTES: &[Route] = &[
    token(Action::ListMounts, &[Read], "sys/mounts", Place::State, "All mounts."),
    token(Action::ReadMountTune, &[Read], "sys/mounts/*/tune", Place::State, "A mount's settings."),
    token(Action::TuneMount, &[Write], "sys/mounts/*/tune", Place::State, "Change a mount's settings."),
    token(Action::ReadMount, &[Read], "sys/mounts/*", Place::State, "One mount."),
    token(Action::EnableMount, &[Write], "sys/mounts/*", Place::State, "Enable an engine at a path."),
    token(
        Action::DisableMount,
        &[Delete],
        "sys/mounts/*",
        Place::State,
        "Disable a mount and destroy its secrets.",
    ),
    token(Action::RemountStatus, &[Read], "sys/remount/status/:id", Place::State, "How a remount went."),
    token(Action::Remount, &[Write], "sys/remount", Place::State, "Move a mount to another path."),
    token(
        Action::VisibleMount,
        &[Read],
        "sys/internal/ui/mounts/*",
        Place::State,
        "The mount that serves a path.",
    ),
    // Without a token this lists the mounts that are visible to all, as clients expect: the handler decides.
    Route {
        action: Action::VisibleMounts,
        operations: &[Read],
        pattern: "sys/internal/ui/mounts",
        open: true,
        when_sealed: false,
        place: Place::State,
        summary: "The mounts that the caller may see.",
    },
];
