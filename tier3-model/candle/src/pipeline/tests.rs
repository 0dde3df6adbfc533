//! The engine against diffusers, on weights that are random: `tests/fixture/make_fixture.py` says what and how.
//!
//! `FALLTHROUGH_PARITY` names a folder with other sets that the recipe made; they are compared in the same way.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;

use candle_core::DType;

use super::*;

const PROMPT: &str = "headshot, portrait of a girl with blue hair, smiling, masterpiece";
const NEGATIVE: &str = "lowres, bad anatomy, text";

/// As Stable Diffusion 1.5 is, and as 2.1.
const SETS: [&str; 2] = ["sd15", "sd21"];

fn folder(set: &str) -> PathBuf {
    let own = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixture");
    std::env::var_os("FALLTHROUGH_PARITY").map_or_else(own, PathBuf::from).join(set)
}

fn reference(set: &str) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(folder(set).join("reference.safetensors"), &Device::Cpu).unwrap()
}

fn pipeline(set: &str) -> Pipeline {
    Pipeline::read(&folder(set)).unwrap()
}

/// What the reference was drawn with.
fn request(
    pipeline: &Pipeline,
    reference: &HashMap<String, Tensor>,
    sampler: &str,
    scheduler: &str,
) -> Txt2Img {
    let (_, _, height, width) = reference["noise"].dims4().unwrap();
    let factor = pipeline.decoder.factor();
    Txt2Img {
        prompt: PROMPT.to_owned(),
        negative_prompt: NEGATIVE.to_owned(),
        seed: 42,
        sampler: sampler.to_owned(),
        scheduler: scheduler.to_owned(),
        steps: 20,
        guidance_milli: 7500,
        width: u32::try_from(width * factor).unwrap(),
        height: u32::try_from(height * factor).unwrap(),
        ..Txt2Img::default()
    }
}

/// The largest difference between two tensors of one shape.
#[track_caller]
fn difference(found: &Tensor, expected: &Tensor) -> f32 {
    assert_eq!(found.dims(), expected.dims());
    let expected = expected.to_dtype(DType::F32).unwrap();
    (found - expected).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
}

#[test]
fn the_text_encoder_and_one_call_of_the_unet_are_diffusers_own() {
    for set in SETS {
        compare_calls(set);
    }
}

fn compare_calls(set: &str) {
    let (pipeline, reference) = (pipeline(set), reference(set));
    let chunk = |prompt: &str| -> Chunk { pipeline.chunks(prompt).remove(0) };
    let tokens: Vec<u32> = reference["tokens"]
        .flatten_all()
        .unwrap()
        .to_vec1::<i64>()
        .unwrap()
        .into_iter()
        .map(|token| u32::try_from(token).unwrap())
        .collect();
    assert_eq!(chunk(PROMPT).tokens, tokens);
    let text = pipeline.rows(&chunk(PROMPT)).unwrap();
    for (rows, expected) in [(&text, "prompt"), (&pipeline.rows(&chunk(NEGATIVE)).unwrap(), "negative")] {
        let found = difference(rows, &reference[expected]);
        println!("{set}: text encoder, {expected}: {found:e}");
        assert!(found <= 5e-6, "{expected}: {found:e}");
    }
    let predicted = pipeline.unet.forward(&reference["noise"], 981.0, &text).unwrap();
    let found = difference(&predicted, &reference["one call"]);
    println!("{set}: one call of the U-Net: {found:e}");
    assert!(found <= 2e-4, "{found:e}");
}

#[test]
fn pictures_are_diffusers_own() {
    for set in SETS {
        compare_pictures(set);
    }
}

fn compare_pictures(set: &str) {
    let (pipeline, reference) = (pipeline(set), reference(set));
    for (sampler, scheduler, expected) in [
        ("DDIM", "", "DDIM"),
        ("Euler", "Normal", "Euler"),
        ("Euler a", "", "Euler a"),
        ("DPM++ 2M", "", "DPM++ 2M"),
        ("DPM++ 2M", "Karras", "DPM++ 2M Karras"),
        ("LCM", "", "LCM"),
    ] {
        // The second set has fewer.
        let Some(latents) = reference.get(&format!("{expected}: latents")) else { continue };
        let request = request(&pipeline, &reference, sampler, scheduler);
        let job = Job::default();
        let own = pipeline.latents(&request, &job).unwrap();
        let found = difference(&own, latents);
        assert_eq!(job.progress(), 0.952, "20 of 21");

        let drawn = pipeline.pixels(&own).unwrap();
        let pixels = reference[&format!("{expected}: pixels")].squeeze(0).unwrap();
        let pixels = pixels.reshape((3, ())).unwrap().t().unwrap().to_vec2::<f32>().unwrap();
        let bytes =
            pixels.iter().flat_map(|pixel| pixel.iter().map(|value| (value * 255.0).round_ties_even() as u8));
        let drawn: Vec<u8> = drawn.chunks_exact(4).flat_map(|pixel| pixel[..3].to_vec()).collect();
        assert_eq!(drawn.len(), pixels.len() * 3);
        let off: Vec<u8> = drawn.iter().zip(bytes).map(|(drawn, byte)| drawn.abs_diff(byte)).collect();
        let differing = off.iter().filter(|off| **off > 0).count() as f64 / off.len() as f64;
        let largest = off.iter().max().copied().unwrap_or_default();
        println!(
            "{set}: {expected}: latents {found:e}, pixels {largest}/255, {:.3} % of them differ",
            differing * 100.0
        );
        assert!(found <= 5e-3, "{set}: {expected}: {found:e}");
        assert!(largest <= 1 && differing <= 0.005, "{set}: {expected}: {largest}, {differing}");
    }
}

/// Set where a test runs itself in another process: it prints what it found.
const INNER: &str = "FALLTHROUGH_LATENTS_ONLY";

#[test]
fn latents_are_bit_equal_over_runs_and_threads() {
    let (pipeline, reference) = (pipeline("sd15"), reference("sd15"));
    let request = Txt2Img { steps: 4, ..request(&pipeline, &reference, "Euler a", "Karras") };
    let bits = || {
        let latents = pipeline.latents(&request, &Job::default()).unwrap();
        let mut hash = Sha256::new();
        for number in latents.flatten_all().unwrap().to_vec1::<f32>().unwrap() {
            hash.update(number.to_bits().to_le_bytes());
        }
        format!("latents {:02x?}", hash.finalize().to_vec())
    };
    let here = bits();
    println!("{here}");
    if std::env::var_os(INNER).is_some() {
        return;
    }
    assert_eq!(bits(), here);
    for threads in ["1", "2", "3"] {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "pipeline::tests::latents_are_bit_equal_over_runs_and_threads", "--nocapture"])
            .env(INNER, "1")
            .env("RAYON_NUM_THREADS", threads)
            .env("CANDLE_NUM_THREADS", threads)
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && printed.contains(&here), "{threads} threads: {printed}");
    }
}

#[test]
fn odd_sizes_long_prompts_and_no_guidance_are_drawn() {
    let (pipeline, reference) = (pipeline("sd15"), reference("sd15"));
    let small =
        Txt2Img { steps: 1, width: 72, height: 88, ..request(&pipeline, &reference, "Euler", "Karras") };
    let drawn = |change: &dyn Fn(&mut Txt2Img)| {
        let mut request = small.clone();
        change(&mut request);
        pipeline.draw(&request, &Job::default()).unwrap()
    };
    let plain = drawn(&|_| {});
    assert_eq!(plain.len(), 72 * 88 * 4);
    let others = [
        drawn(&|request| request.prompt = "girl, ".repeat(60)),
        drawn(&|request| request.prompt = format!("{PROMPT} BREAK red")),
        drawn(&|request| request.prompt = PROMPT.replace("blue hair", "(blue hair:1.4)")),
        drawn(&|request| request.guidance_milli = 1000),
        drawn(&|request| request.noise = fallthrough_diffusion::NoiseSource::Nv),
        drawn(&|request| request.seed = 43),
    ];
    for (at, other) in others.iter().enumerate() {
        assert_ne!(*other, plain, "{at}");
    }
}

#[test]
fn what_cannot_be_drawn_is_named() {
    let (pipeline, reference) = (pipeline("sd15"), reference("sd15"));
    let told = |change: &dyn Fn(&mut Txt2Img)| {
        let mut request = request(&pipeline, &reference, "Euler", "");
        change(&mut request);
        pipeline.draw(&request, &Job::default()).unwrap_err().to_string()
    };
    assert!(
        told(&|request| request.sampler = "UniPC".to_owned()).starts_with("there is no sampler \"UniPC\"")
    );
    assert!(
        told(&|request| request.scheduler = "Beta".to_owned()).starts_with("there is no scheduler \"Beta\"")
    );
    assert!(told(&|request| request.prompt = "<lora:a:1>".to_owned()).contains("<lora:a:1>"));
    assert!(told(&|request| request.negative_prompt = "[a|b]".to_owned()).contains("[a|b]"));
    assert!(
        told(&|request| request.noise = fallthrough_diffusion::NoiseSource::Gpu).contains("randn_source GPU")
    );
    assert!(told(&|request| request.width = 60).starts_with("width: "));
    assert!(told(&|request| request.prompt = "a ".repeat(700)).contains("chunks of 75 tokens"));
}

#[test]
fn a_cancelled_job_ends_before_its_next_step() {
    let (pipeline, reference) = (pipeline("sd15"), reference("sd15"));
    let job = Job::default();
    job.cancel();
    let told = pipeline.draw(&request(&pipeline, &reference, "Euler", ""), &job).unwrap_err();
    assert!(matches!(told, DrawError::Cancelled), "{told}");
    assert_eq!(job.progress(), 0.0);
}

/// A copy of the fixture, which a test may damage.
fn copy() -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for part in ["tokenizer", "text_encoder", "unet", "vae", "scheduler"] {
        std::fs::create_dir(to.path().join(part)).unwrap();
        for file in std::fs::read_dir(folder("sd15").join(part)).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), to.path().join(part).join(file.file_name())).unwrap();
        }
    }
    to
}

#[test]
fn what_is_wrong_with_a_folder_is_named() {
    let edited = |file: &str, from: &str, to: &str| {
        let folder = copy();
        let path = folder.path().join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file}: {from}");
        std::fs::write(&path, text.replace(from, to)).unwrap();
        Pipeline::read(folder.path()).map(|_| ()).unwrap_err().to_string()
    };
    for (file, from, to, expected) in [
        (
            "unet/config.json",
            "\"act_fn\": \"silu\"",
            "\"act_fn\": \"mish\"",
            "act_fn = \"mish\" is not supported",
        ),
        (
            "unet/config.json",
            "\"attention_type\"",
            "\"addition_embed_type\"",
            "addition_embed_type = \"default\"",
        ),
        (
            "unet/config.json",
            "\"cross_attention_dim\": 32",
            "\"cross_attention_dim\": 48",
            "attn2.to_k.weight",
        ),
        (
            "unet/config.json",
            "\"layers_per_block\": 1",
            "\"layers_per_block\": 2",
            "there is no tensor down_blocks.0.resnets.1.",
        ),
        ("unet/config.json", "\"UpBlock2D\"", "\"SkipUpBlock2D\"", "up_block_types = "),
        ("vae/config.json", "\"norm_num_groups\": 4", "\"norm_num_groups\": 3", "groups"),
        ("text_encoder/config.json", "\"quick_gelu\"", "\"relu\"", "hidden_act = \"relu\""),
        ("text_encoder/config.json", "\"num_attention_heads\": 4", "\"num_attention_heads\": 5", "5 heads"),
        ("scheduler/scheduler_config.json", "\"epsilon\"", "\"sample\"", "prediction_type = \"sample\""),
        ("scheduler/scheduler_config.json", "\"scaled_linear\"", "\"linear\"", "beta_schedule = \"linear\""),
        ("scheduler/scheduler_config.json", "{", "[", "scheduler_config.json: "),
        ("tokenizer/vocab.json", "\"<|endoftext|>\": 582", "\"<|endoftext|>\": 583", "knows 583 tokens"),
        ("tokenizer/merges.txt", "#version", "x y\n#version", "tokenizer: vocab.json has no \"xy\""),
    ] {
        let told = edited(file, from, to);
        assert!(told.contains(expected), "{file}, {to}: {told}");
    }
    for (file, expected) in [
        ("tokenizer/merges.txt", "merges.txt: "),
        ("unet/config.json", "config.json: "),
        ("vae/diffusion_pytorch_model.safetensors", "has neither diffusion_pytorch_model.safetensors nor "),
    ] {
        let folder = copy();
        std::fs::remove_file(folder.path().join(file)).unwrap();
        let told = Pipeline::read(folder.path()).map(|_| ()).unwrap_err().to_string();
        assert!(told.contains(expected), "{file}: {told}");
    }
    let folder = copy();
    assert_eq!(Pipeline::read(folder.path()).unwrap().sha256(), pipeline("sd15").sha256());
}
