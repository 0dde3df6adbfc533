//! Reads a txt2img request: JSON in which everything is optional and unknown names are ignored,
//! but what is known must be right and possible.

use serde_json::{Map, Value};

use super::fault::Fault;
use crate::encode::Format;
use crate::model::ModelCard;
use crate::request::{InvalidField, NoiseSource, Txt2Img};

/// The web UI's default where a request names no sampler.
const DEFAULT_SAMPLER: &str = "Euler";

/// A request as it was understood.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Call {
    /// The first picture's key; the others count the seed upwards.
    pub(super) request: Txt2Img,
    /// How many pictures.
    pub(super) pictures: u32,
    /// Pictures per batch, as asked.
    pub(super) batch_size: u32,
    /// Whether the seed was left to the server.
    pub(super) any_seed: bool,
    pub(super) format: Format,
    pub(super) send_images: bool,
    pub(super) task_id: Option<String>,
}

impl Call {
    /// Reads `body` for the model of `card`.
    pub(super) fn read(body: &Map<String, Value>, card: &ModelCard, batch_max: u32) -> Result<Self, Fault> {
        let fields = Fields(body);
        refuse_unsupported(&fields)?;
        let none = Map::new();
        let settings = Fields(fields.object("override_settings")?.unwrap_or(&none));
        check_model(settings.text("sd_model_checkpoint")?, card)?;
        let asked = match fields.text("sampler_name")? {
            Some(sampler) => Some(sampler),
            // The name of this field up to web UI 1.4.
            None => fields.text("sampler_index")?,
        };
        let (sampler, scheduler) =
            sampler(asked.unwrap_or(DEFAULT_SAMPLER), fields.text("scheduler")?.unwrap_or_default(), card)?;
        let seed = fields.integer("seed")?.unwrap_or(-1);
        let noise = match settings.text("randn_source")? {
            None => NoiseSource::default(),
            Some(name) => NoiseSource::parse(name)
                .ok_or_else(|| Fault::invalid("randn_source", "must be CPU, NV or GPU"))?,
        };
        let format = match settings.text("samples_format")? {
            None => Format::default(),
            Some(name) => Format::from_extension(name)
                .ok_or_else(|| Fault::invalid("samples_format", "must be png, jpg or webp"))?,
        };
        let request = Txt2Img {
            model: String::new(),
            prompt: fields.text("prompt")?.unwrap_or_default().to_owned(),
            negative_prompt: fields.text("negative_prompt")?.unwrap_or_default().to_owned(),
            seed: match seed {
                -1 => 0,
                seed => u32::try_from(seed)
                    .map_err(|_| Fault::invalid("seed", "must be -1 or 0 to 4294967295"))?,
            },
            sampler,
            scheduler,
            steps: fields.count("steps", 50)?,
            guidance_milli: guidance(&fields)?,
            width: fields.count("width", 512)?,
            height: fields.count("height", 512)?,
            noise,
        };
        request.validate()?;
        let (batch_size, n_iter) = (fields.count("batch_size", 1)?, fields.count("n_iter", 1)?);
        let pictures = batch_size.checked_mul(n_iter).filter(|pictures| (1..=batch_max).contains(pictures));
        let pictures = pictures.ok_or_else(|| {
            Fault::invalid("batch_size", format!("batch_size × n_iter must be 1 to {batch_max}"))
        })?;
        Ok(Self {
            request,
            pictures,
            batch_size,
            any_seed: seed == -1,
            format,
            send_images: fields.flag("send_images")?.unwrap_or(true),
            task_id: fields.text("force_task_id")?.map(str::to_owned),
        })
    }
}

/// Refuses what would change the picture and is not done here, rather than ignoring it.
fn refuse_unsupported(fields: &Fields<'_>) -> Result<(), Fault> {
    let unsupported = |field| Err(Fault::invalid(field, "is not supported by this model"));
    if fields.flag("enable_hr")? == Some(true) {
        return unsupported("enable_hr");
    }
    if fields.number("subseed_strength")?.is_some_and(|strength| strength != 0.0) {
        return unsupported("subseed_strength");
    }
    if fields.text("script_name")?.is_some_and(|script| !script.is_empty()) {
        return unsupported("script_name");
    }
    if fields.object("alwayson_scripts")?.is_some_and(|scripts| !scripts.is_empty()) {
        return unsupported("alwayson_scripts");
    }
    match fields.0.get("styles") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Array(styles)) if styles.is_empty() => Ok(()),
        Some(_) => unsupported("styles"),
    }
}

/// The web UI silently uses the loaded checkpoint instead of one it does not have; whoever asks
/// for another model must learn that it is not here.
fn check_model(wanted: Option<&str>, card: &ModelCard) -> Result<(), Fault> {
    let hash = &card.fingerprint.model_hash;
    match wanted {
        None | Some("") => Ok(()),
        Some(wanted) if wanted == card.name || wanted == title(card) || wanted == hash => Ok(()),
        Some(wanted) => Err(Fault::invalid(
            "sd_model_checkpoint",
            format!("{wanted:?} is not here, only {:?}", card.name),
        )),
    }
}

/// How the web UI writes a checkpoint in menus.
pub(super) fn title(card: &ModelCard) -> String {
    format!("{} [{}]", card.name, card.fingerprint.model_hash)
}

/// The sampler and scheduler asked for, in the model's own spelling. Up to web UI 1.8 the
/// scheduler was the end of the sampler's name, "DPM++ 2M Karras"; both forms are understood.
/// "Automatic" is the same as naming none.
fn sampler(sampler: &str, scheduler: &str, card: &ModelCard) -> Result<(String, String), Fault> {
    let known =
        |names: &[String], name: &str| names.iter().find(|known| known.eq_ignore_ascii_case(name)).cloned();
    let (sampler, in_name) = match known(&card.samplers, sampler) {
        Some(sampler) => (Some(sampler), None),
        None => match sampler.rsplit_once(' ') {
            Some((name, end)) => (known(&card.samplers, name), known(&card.schedulers, end)),
            None => (None, None),
        },
    };
    let sampler = sampler.ok_or_else(|| Fault::unknown_name("Sampler not found"))?;
    let scheduler = match (scheduler, in_name) {
        ("" | "Automatic" | "automatic", None) => String::new(),
        ("" | "Automatic" | "automatic", Some(in_name)) => in_name,
        (named, _) => {
            known(&card.schedulers, named).ok_or_else(|| Fault::unknown_name("Scheduler not found"))?
        }
    };
    Ok((sampler, scheduler))
}

fn guidance(fields: &Fields<'_>) -> Result<u32, Fault> {
    let guidance = fields.number("cfg_scale")?.unwrap_or(7.0);
    let milli = (guidance * 1000.0).round();
    if !(0.0..=f64::from(u32::MAX)).contains(&milli) {
        return Err(InvalidField { field: "cfg_scale", reason: "must be 0 to 100".to_owned() }.into());
    }
    Ok(milli as u32)
}

/// Typed looks into a JSON object; an absent field and null are the same.
struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    fn get<T>(
        &self,
        name: &str,
        kind: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, Fault> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => read(value)
                .map(Some)
                .ok_or_else(|| Fault::invalid(name, format!("value is not a valid {kind}"))),
        }
    }

    fn text(&self, name: &str) -> Result<Option<&'a str>, Fault> {
        self.get(name, "string", Value::as_str)
    }

    fn flag(&self, name: &str) -> Result<Option<bool>, Fault> {
        self.get(name, "boolean", Value::as_bool)
    }

    fn number(&self, name: &str) -> Result<Option<f64>, Fault> {
        self.get(name, "number", Value::as_f64)
    }

    fn object(&self, name: &str) -> Result<Option<&'a Map<String, Value>>, Fault> {
        self.get(name, "object", Value::as_object)
    }

    /// A whole number, also when written as 20.0.
    fn integer(&self, name: &str) -> Result<Option<i64>, Fault> {
        self.get(name, "integer", |value| {
            let whole = || value.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < 1e15);
            value.as_i64().or_else(|| whole().map(|number| number as i64))
        })
    }

    /// A whole number that fits a u32; limits are checked elsewhere.
    fn count(&self, name: &str, default: u32) -> Result<u32, Fault> {
        match self.integer(name)? {
            None => Ok(default),
            Some(number) => {
                u32::try_from(number).map_err(|_| Fault::invalid(name, format!("{number} is out of range")))
            }
        }
    }
}
