//! `fallthrough demo`: the three tiers as three real servers over loopback HTTP, in one process and folder.
//!
//! Tier 3 draws behind the txt2img API, tier 2 is the avatar origin that asks it, tier 1 has the bucket `avatar`
//! that falls through to tier 2, signing with a key pair drawn for this run. The demo page is served by tier 1's
//! S3 listener. What the demo adds to the tiers is only what it shows: the page, a count of the origin's calls,
//! and the text it prints.

mod args;
mod banner;
mod counted;
mod page;
mod share;

use std::io::IsTerminal;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use fallthrough_avatar::{AvatarSettings, FrontSettings};
use fallthrough_bucket::{BucketMode, PublicAccess, PublicFill, ShadowRule, ShadowTarget};
use fallthrough_diffusion::painter::Cast;
use fallthrough_gateway::Strangers;
use fallthrough_object::{BucketName, Clock, Entropy, OsEntropy, SystemClock};

pub(crate) use args::DemoArgs;

use crate::cli::Globals;
use crate::failure::Failure;
use crate::settings::{
    AvatarFront, BucketDeclaration, ModelSettings, Secret, Settings, Txt2imgSettings, parse_url,
    warn_of_near_misses,
};
use crate::wiring::avatar::{AvatarPlan, RunningAvatar};
use crate::wiring::bucket_tier::{BucketTierPlan, RunningBucketTier};
use crate::wiring::logging;
use crate::wiring::model::{ModelPlan, RunningModel, kind};
use crate::wiring::ready_file::ReadyFile;
use crate::wiring::root::random_letters;
use crate::wiring::stop::StopSignals;
use args::MODEL;
use banner::Banner;
use counted::{Calls, Counted};

/// The bucket of avatars, and the name of the origin it falls through to.
const AVATAR: &str = "avatar";
/// The bucket that falls through to nothing.
const SCRATCH: &str = "scratch";

/// Any free port on loopback: tiers 2 and 3 are for tier 1 alone.
const FREE_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// How long the page waits before it is shown a placeholder.
const PATIENCE: Duration = Duration::from_secs(4);

/// Pictures that tier 3 draws at a time, and that may wait for it.
const MODEL_SLOTS: usize = 2;
const MODEL_QUEUE: usize = 256;

/// What tier 2 asks: the third tier's address, and how.
struct Third {
    /// The server of ours; `None` if the model is somebody else's server.
    running: Option<RunningModel>,
    /// How tier 2 reaches it.
    settings: Txt2imgSettings,
    /// What draws, in a word.
    engine: &'static str,
    /// What pictures are kept under: another engine, or other weights, draw others.
    edition: String,
}

/// Runs the demo until it is told to stop.
///
/// # Errors
/// What kept it from starting, with what to do; nothing runs on then.
pub(crate) async fn run(args: DemoArgs, globals: &Globals) -> Result<(), Failure> {
    let clock = SystemClock::new();
    let started = clock.monotonic();
    let layers = args.layers(globals);
    let mut settings = Settings::load(&layers)?;
    logging::start(&settings.log)?;
    warn_of_near_misses(&layers.environment);
    let strangers = if args.share {
        // The port stays; every address of this machine is listened on.
        settings.s3.listen.set_ip(Ipv4Addr::UNSPECIFIED.into());
        Strangers::ReadAnonymously
    } else {
        Strangers::AsOthers
    };
    let data = settings.store.data.clone();
    let mut signals = StopSignals::catch()?;

    let third = start_model(&args, &settings).await?;
    let calls = Arc::new(Calls::default());
    let avatar = start_avatar(&third, &calls).await?;
    declare(&mut settings, &third, &avatar)?;
    let pages = page::pages(page::Tiers {
        calls,
        service: avatar.service.clone(),
        origin: avatar.url(),
        model: third.url(),
        engine: third.engine.to_owned(),
    });
    let bucket_tier =
        BucketTierPlan { settings, pages: Some(pages), strangers, sources: None }.start().await?;

    let (s3, admin, root) = (bucket_tier.s3_url(), bucket_tier.admin_url(), &bucket_tier.root.account);
    let shared = args.share.then(|| share::address_in_network(bucket_tier.s3.port()));
    let banner = Banner {
        s3: &s3,
        admin: &admin,
        origin: &avatar.url(),
        model: &third.url(),
        engine: third.engine,
        access_key: &root.access_key,
        secret_key: root.secret_key.reveal(),
        data: &data,
        took: clock.monotonic().since(started),
        fresh_key: &fresh_key(&OsEntropy),
        colors: std::io::stdout().is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        shared: shared.as_ref(),
    };
    let fields = bucket_tier
        .ready_fields()
        .text("demo", format!("{s3}/_demo"))
        .text("origin", avatar.url())
        .text("model", third.url());
    let ready = match args.ready_file.map(|path| ReadyFile::write(&path, fields)).transpose() {
        Ok(ready) => ready,
        Err(failure) => {
            stop(bucket_tier, avatar, third).await;
            return Err(failure);
        }
    };
    if globals.json {
        println!("{}", banner.json());
    } else {
        print!("{}", banner.text());
    }

    signals.next().await;
    drop(ready);
    // A second signal does not wait for what is still running.
    tokio::select! {
        biased;
        () = stop(bucket_tier, avatar, third) => Ok(()),
        signal = signals.next() => Err(Failure::new(
            format!("a second {signal} cut the end short"),
            "nothing acknowledged is lost; requests in progress were cut off",
        )),
    }
}

/// From the front to the back, so that nothing asks a tier that is gone.
async fn stop(bucket_tier: RunningBucketTier, avatar: RunningAvatar, third: Third) {
    bucket_tier.shutdown().await;
    avatar.shutdown().await;
    if let Some(model) = third.running {
        model.shutdown().await;
    }
}

/// Tier 3: a server of ours with the painter or with Stable Diffusion, or the one that was named.
async fn start_model(args: &DemoArgs, settings: &Settings) -> Result<Third, Failure> {
    if let Some(ModelSettings::Txt2img(named)) = settings.models.get(MODEL) {
        return Ok(Third {
            running: None,
            settings: named.clone(),
            engine: "txt2img",
            edition: "txt2img-1".to_owned(),
        });
    }
    let model = settings.models.get(MODEL).cloned().unwrap_or(ModelSettings::Painter);
    let engine = kind(&model);
    // The painter draws two at a time; Stable Diffusion keeps all cores busy with one.
    let slots = if model == ModelSettings::Painter { MODEL_SLOTS } else { 1 };
    let running = ModelPlan {
        listen: FREE_PORT,
        engine: model,
        basic: Some(("demo".to_owned(), Secret::new(random_letters(&OsEntropy, 32)))),
        slots,
        queue: MODEL_QUEUE,
        delay: args.delay(),
    }
    .start()
    .await?;
    let url = parse_url(&running.url())
        .map_err(|wrong| Failure::new(wrong, "report this: it is a fault of the demo"))?;
    let settings = Txt2imgSettings {
        urls: vec![url],
        checkpoint: None,
        hedge: false,
        basic: running.basic.clone(),
        concurrency: u32::try_from(slots).unwrap_or(u32::MAX),
        queue: u32::try_from(MODEL_QUEUE).unwrap_or(u32::MAX),
    };
    let edition = match engine {
        "candle" => format!("candle-1-{}", running.card.fingerprint.model_hash),
        drawn => format!("{drawn}-1"),
    };
    Ok(Third { running: Some(running), settings, engine, edition })
}

impl Third {
    /// Its address without a slash at the end; of several, the first.
    fn url(&self) -> String {
        let first = self.settings.urls.first().map(url::Url::as_str);
        first.unwrap_or_default().trim_end_matches('/').to_owned()
    }
}

/// Tier 2: the avatar origin, which answers only requests signed with a key pair drawn here.
async fn start_avatar(third: &Third, calls: &Arc<Calls>) -> Result<RunningAvatar, Failure> {
    let calls = Arc::clone(calls);
    AvatarPlan {
        listen: FREE_PORT,
        model: ModelSettings::Txt2img(third.settings.clone()),
        credentials: Some((
            format!("FT{}", random_letters(&OsEntropy, 18)),
            Secret::new(random_letters(&OsEntropy, 40)),
        )),
        style: Cast::default(),
        avatars: AvatarSettings {
            edition: third.edition.clone(),
            // Over the txt2img API nobody can tell; here it is known what is behind it.
            any_size: third.engine == "painter",
            ..AvatarSettings::default()
        },
    }
    .start_as(|origin| Counted::new(origin, calls))
    .await
}

/// The two buckets, and the origin that one of them falls through to.
fn declare(settings: &mut Settings, third: &Third, avatar: &RunningAvatar) -> Result<(), Failure> {
    let name = |name: &str| {
        BucketName::parse(name)
            .map_err(|wrong| Failure::new(wrong.to_string(), "report this: it is a fault of the demo"))
    };
    settings.origins.insert(AVATAR.to_owned(), avatar.as_origin()?);
    let mut rule = ShadowRule::to(ShadowTarget::Origin { origin: AVATAR.to_owned() });
    rule.edition = Some(third.edition.clone());
    // Anything else can never be an avatar: it is refused here, before any queue.
    rule.keys = Some(fallthrough_avatar::KEYS.to_owned());
    let addresses = FrontSettings {
        // Each size is a picture to draw: a slow model is asked for one.
        sizes: if third.engine == "painter" { Vec::new() } else { vec![256] },
        own_pictures: true,
        edition: Some(third.edition.clone()),
        ..FrontSettings::default()
    };
    settings.fronts.insert(name(AVATAR)?, AvatarFront { addresses, patience: Some(PATIENCE) });
    settings.buckets.insert(
        name(AVATAR)?,
        BucketDeclaration {
            mode: BucketMode::Compute,
            public: PublicAccess::Read,
            public_fill: PublicFill::Budget,
            shadow: vec![rule],
            cache_limit_bytes: None,
            quota_bytes: None,
        },
    );
    settings.buckets.entry(name(SCRATCH)?).or_insert_with(|| BucketDeclaration {
        mode: BucketMode::Plain,
        public: PublicAccess::None,
        public_fill: PublicFill::default(),
        shadow: Vec::new(),
        cache_limit_bytes: None,
        quota_bytes: None,
    });
    Ok(())
}

/// 32 random hex digits: an avatar that nobody has asked for.
fn fresh_key(entropy: &dyn Entropy) -> String {
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
