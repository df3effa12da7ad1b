//! The settings of a world: defaults, then `world.toml`, then the environment, then flags.
//!
//! Responsible for: reading, units, ranges, naming file, key, value and rule when something is wrong. All of it
//! happens before anything binds or starts.
//! Not responsible for: flags (`cli`), whether a schema compiles or a worker's program exists.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use spatialdb_types::Limits;

mod authority;
mod durability;
mod environment;
mod error;
mod layers;
mod places;
mod section;
mod settings;
mod snapshots;
mod units;
mod worker;

pub use authority::AuthorityConfig;
pub use durability::DurabilityConfig;
pub use error::ConfigError;
pub use layers::LayersConfig;
pub use settings::{Setting, Source, settings};
pub use snapshots::SnapshotsConfig;
pub use worker::WorkerConfig;

use places::Places;
use section::{Section, read_limit};

/// So many entities one partition has without being much work. Each further one makes what viewers are shown dearer: it comes
/// from several, and entities cross between them.
pub const ENTITIES_PER_PARTITION: u64 = 20_000;

/// Most partitions that one server runs.
pub const PARTITIONS_MAX: usize = 256;

/// Where a server listens when nothing says otherwise.
pub const LISTEN_DEFAULT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7400);

// A slower publish than this is no longer a live world.
const PUBLISH_INTERVAL_LONGEST: Duration = Duration::from_secs(10);

// Cells outside of this range make either every query or every move slow.
const CELL_M_RANGE: std::ops::RangeInclusive<f64> = 1e-3..=1e9;

/// Everything that a world is told at its start.
#[derive(Clone, Debug, PartialEq)]
pub struct WorldConfig {
    /// The name of the world; `None` takes that of the snapshot.
    pub name: Option<String>,
    /// What the world starts from: a snapshot or JSON lines; `None` is an empty world. Absolute, or relative to the
    /// current folder.
    pub snapshot: Option<PathBuf>,
    /// Folders with the `.proto` files of the world, beyond those in the snapshot. Absolute, or relative to the
    /// current folder.
    pub schema_dirs: Vec<PathBuf>,
    /// The side of a cell of the grid index in metres; `None` chooses from the data.
    pub cell_m: Option<f64>,
    /// The longest pause between two publishes of a partition.
    pub publish_interval_max: Duration,
    /// After which share of publishes a piece of what one session is shown is compared with what its views match.
    pub shadow_check: f64,
    /// Every bound of the server.
    pub limits: Limits,
    /// The address to serve on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Certificates.
    pub tls: TlsConfig,
    /// The file with tokens; without one everybody may do everything.
    pub tokens: Option<PathBuf>,
    /// Names, beside `localhost` and addresses, by which clients may call the server.
    pub hosts: Vec<String>,
    /// Origins whose pages may call the server, beside its own: `https://example.org`.
    pub origins: Vec<String>,
    /// How many partitions; `None`: see [`WorldConfig::partitions_for`].
    pub partitions: Option<usize>,
    /// The settings that each worker type is told, by name.
    pub flags: BTreeMap<String, BTreeMap<String, String>>,
    /// Programs that start and stop with the world.
    pub workers: Vec<WorkerConfig>,
    /// Who may write what; without any layer every worker everything.
    pub layers: LayersConfig,
    /// How patient the world is with workers that own something.
    pub authority: AuthorityConfig,
    /// What is on disk, and when, if there is a data directory.
    pub durability: DurabilityConfig,
    /// Snapshots that are taken by themselves.
    pub snapshots: SnapshotsConfig,
}

/// Certificates and keys, as PEM files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsConfig {
    /// The certificate of the server, with its chain.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// Whom workers that the server starts trust; if it is not set, `cert` itself.
    pub ca: Option<PathBuf>,
    /// Who signs the certificates of workers; if it is set they must show one.
    pub client_ca: Option<PathBuf>,
}

impl TlsConfig {
    /// Whether connections are encrypted.
    pub const fn is_on(&self) -> bool {
        self.cert.is_some()
    }

    /// Whom workers that the server starts trust.
    pub fn trusted(&self) -> Option<&Path> {
        self.ca.as_deref().or(self.cert.as_deref())
    }

    /// Whether workers must show a certificate.
    pub const fn wants_certificates(&self) -> bool {
        self.client_ca.is_some()
    }
}

impl Default for WorldConfig {
    fn default() -> Self {
        Self {
            name: None,
            snapshot: None,
            schema_dirs: Vec::new(),
            cell_m: None,
            publish_interval_max: Duration::from_millis(20),
            shadow_check: 0.001,
            limits: Limits::default(),
            listen: LISTEN_DEFAULT,
            tls: TlsConfig::default(),
            tokens: None,
            hosts: Vec::new(),
            origins: Vec::new(),
            partitions: None,
            flags: BTreeMap::new(),
            workers: Vec::new(),
            layers: LayersConfig::default(),
            authority: AuthorityConfig::default(),
            durability: DurabilityConfig::default(),
            snapshots: SnapshotsConfig::default(),
        }
    }
}

impl WorldConfig {
    /// The defaults, changed by the file (if any) and by `SPATIALDB_*` variables.
    ///
    /// # Errors
    /// The first thing that is wrong, with the file or variable, key, value and rule.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        Self::load_with(file, |name| std::env::var(name).ok())
    }

    /// As [`WorldConfig::load`], with the environment given.
    ///
    /// # Errors
    /// The first thing that is wrong, with the file or variable, key, value and rule.
    pub fn load_with(
        file: Option<&Path>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let mut config = match file {
            Some(file) => Self::read(file)?,
            None => Self::default(),
        };
        environment::apply(&mut config, variable)?;
        Ok(config)
    }

    /// How many partitions a world that begins with so many entities has: the setting, or one for every
    /// [`ENTITIES_PER_PARTITION`] of them, but no more than there are cores. A world that begins empty has one for each core.
    pub fn partitions_for(&self, entities: u64) -> usize {
        let cores = || std::thread::available_parallelism().map_or(2, usize::from).min(PARTITIONS_MAX);
        self.partitions.unwrap_or_else(|| match entities {
            0 => cores(),
            _ => usize::try_from(entities.div_ceil(ENTITIES_PER_PARTITION))
                .map_or_else(|_| cores(), |n| n.min(cores())),
        })
    }

    fn read(file: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(file)
            .map_err(|source| ConfigError::Unreadable { file: file.to_owned(), source })?;
        Self::parse(file, &text)
    }

    // Folders in the text are relative to the folder of `file`.
    fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax {
            file: file.to_owned(),
            line: error.span().map_or(0, |span| 1 + text[..span.start].matches('\n').count()),
            message: error.message().to_owned(),
        })?;
        let places = Places::of(text);
        let mut config = Self::from_table(file, table).map_err(|error| error.at_line(&places))?;
        config.layers.stand_in(file.to_owned(), places);
        Ok(config)
    }

    fn from_table(file: &Path, table: toml::Table) -> Result<Self, ConfigError> {
        let folder = file.parent().unwrap_or(Path::new(""));
        let mut root = Section::root(file, table);
        let mut config = Self::default();
        config.read_world(root.section("world")?, folder)?;
        config.read_server(root.section("server")?, folder)?;
        config.read_views(root.section("views")?)?;
        config.read_tls(root.section("tls")?, folder)?;
        config.read_limits(root.section("limits")?)?;
        config.flags = root.section("flags")?.text_maps()?;
        config.workers = worker::read_all(root.sections("workers")?, folder)?;
        config.layers = layers::read_all(root.sections("layers")?)?;
        config.authority = authority::read(root.section("authority")?)?;
        config.durability = durability::read(root.section("durability")?)?;
        config.snapshots = snapshots::read(root.section("snapshots")?, folder)?;
        root.finish()?;
        Ok(config)
    }

    fn read_world(&mut self, mut section: Section, folder: &Path) -> Result<(), ConfigError> {
        self.name = section.text("name")?;
        self.snapshot = section.text("snapshot")?.map(|file| folder.join(file));
        let dirs = section.texts("schema")?.unwrap_or_default();
        self.schema_dirs = dirs.iter().map(|dir| folder.join(dir)).collect();
        if let Some(cell_m) = section.number("cell_m")? {
            self.cell_m = match cell_m {
                0.0 => None,
                _ if CELL_M_RANGE.contains(&cell_m) => Some(cell_m),
                _ => {
                    let rule = "must be 0 (chosen from the data) or between 0.001 and 1000000000 metres";
                    return Err(section.wrong("cell_m", cell_m, rule));
                }
            };
        }
        section.finish()
    }

    fn read_server(&mut self, mut section: Section, folder: &Path) -> Result<(), ConfigError> {
        self.tokens = section.text("tokens")?.map(|file| folder.join(file));
        if let Some(listen) = section.parsed("listen", units::parse_address)? {
            self.listen = listen;
        }
        self.hosts = section.texts("hosts")?.unwrap_or_default();
        self.origins = section.texts("origins")?.unwrap_or_default();
        if let Some(partitions) = section.count("partitions", 1..=PARTITIONS_MAX)? {
            self.partitions = Some(partitions);
        }
        if let Some(interval) = section.parsed("publish_interval_max", parse_publish_interval)? {
            self.publish_interval_max = interval;
        }
        section.finish()
    }

    fn read_views(&mut self, mut section: Section) -> Result<(), ConfigError> {
        if let Some(share) = section.number("shadow_check")? {
            if !(0.0..=1.0).contains(&share) {
                let rule = "must be between 0 (never) and 1 (after every publish)";
                return Err(section.wrong("shadow_check", share, rule));
            }
            self.shadow_check = share;
        }
        section.finish()
    }

    fn read_tls(&mut self, mut section: Section, folder: &Path) -> Result<(), ConfigError> {
        let mut file = |key| section.text(key).map(|name| name.map(|name| folder.join(name)));
        self.tls = TlsConfig {
            cert: file("cert")?,
            key: file("key")?,
            ca: file("ca")?,
            client_ca: file("client_ca")?,
        };
        let TlsConfig { cert, key, ca, client_ca } = &self.tls;
        if cert.is_some() != key.is_some() {
            let missing = if cert.is_some() { "key" } else { "cert" };
            return Err(section.missing(missing, "a certificate and its key are needed together"));
        }
        if ca.is_some() && cert.is_none() {
            return Err(section.missing("cert", "ca is for trusting the server's own certificate"));
        }
        if client_ca.is_some() && cert.is_none() {
            return Err(section.missing("cert", "client_ca needs the server's own certificate too"));
        }
        section.finish()
    }

    fn read_limits(&mut self, mut section: Section) -> Result<(), ConfigError> {
        for (name, _) in Limits::default().entries() {
            if let Some(value) = read_limit(&mut section, name)?
                && let Some(limit) = self.limits.get_mut(name)
            {
                *limit = value;
            }
        }
        section.finish()
    }
}

fn parse_publish_interval(text: &str) -> Result<Duration, String> {
    let interval = units::parse_duration(text)?;
    if interval.is_zero() || interval > PUBLISH_INTERVAL_LONGEST {
        return Err("must be above 0 and at most 10s".to_owned());
    }
    Ok(interval)
}

#[cfg(test)]
mod tests;
