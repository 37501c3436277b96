//! The playbooks inside the program.

/// Path below `playbooks/` and text of each.
pub(crate) const PLAYBOOKS: &[(&str, &str)] = &[
    (
        "host/daily-health.yml",
        include_str!("../../../playbooks/host/daily-health.yml"),
    ),
    (
        "sqlite/wal-recover.yml",
        include_str!("../../../playbooks/sqlite/wal-recover.yml"),
    ),
];
