//! Schedules and walks against what diffusers 0.27.2 (torch 1.13.1) computes from the same numbers.

use super::*;
use crate::noise::Noise;
use crate::request::NoiseSource;

fn plan(sampler: Sampler, spread: Spread, steps: u32) -> Plan {
    Plan::new(&Training::default(), sampler, spread, steps).unwrap()
}

/// torch sums the training's noise in f32, which shows in the fifth digit of the lowest levels.
#[track_caller]
fn assert_near(found: &[f64], expected: &[f64], relative: f64) {
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= relative * expected.abs(), "{found} instead of {expected}");
    }
}

#[test]
fn schedules_are_diffusers_own() {
    let euler = plan(Sampler::Euler, Spread::Normal, 6);
    let six = [831.0, 665.0, 499.0, 333.0, 167.0, 1.0];
    assert_eq!(euler.timesteps().collect::<Vec<_>>(), six);
    let sigmas = [5.906451, 2.907122, 1.612887, 0.9323583, 0.4946973, 0.04131448, 0.0];
    assert_near(&euler.sigmas().collect::<Vec<_>>(), &sigmas, 2e-5);
    // DDIM goes the same way and stops at the lowest level that was trained.
    let ddim = plan(Sampler::Ddim, Spread::Normal, 6);
    assert_eq!(ddim.timesteps().collect::<Vec<_>>(), six);
    assert_near(&[ddim.end], &[0.02916753], 2e-5);

    let multistep = plan(Sampler::DpmPp2M, Spread::Normal, 6);
    let seven = [853.0, 711.0, 569.0, 427.0, 285.0, 143.0];
    assert_eq!(multistep.timesteps().collect::<Vec<_>>(), seven);

    let karras = plan(Sampler::DpmPp2M, Spread::Karras, 20);
    let twenty = [
        999.0, 962.0, 921.0, 876.0, 827.0, 772.0, 710.0, 640.0, 561.0, 474.0, 380.0, 285.0, 197.0, 123.0,
        69.0, 35.0, 15.0, 6.0, 2.0, 0.0,
    ];
    assert_eq!(karras.timesteps().collect::<Vec<_>>(), twenty);
    let sigmas = [
        14.61465, 11.72537, 9.340211, 7.383626, 5.789421, 4.499844, 3.464755, 2.640847, 1.990921, 1.483217,
        1.090791, 0.7909495, 0.5647244, 0.3963922, 0.2730398, 0.1841693, 0.1213424, 0.07786081, 0.04848191,
        0.02916753, 0.0,
    ];
    assert_near(&karras.sigmas().collect::<Vec<_>>(), &sigmas, 2e-5);

    let steps = |steps| plan(Sampler::Lcm, Spread::Normal, steps).timesteps().collect::<Vec<_>>();
    assert_eq!(steps(4), [999.0, 759.0, 499.0, 259.0]);
    assert_eq!(steps(6), [999.0, 839.0, 679.0, 499.0, 339.0, 179.0]);
}

#[test]
fn walks_end_where_diffusers_ends() {
    // The network is a formula, ε(x, t) = x/2 + sin(t/1000), over sixteen latents drawn with the seed 7; these are the
    // first four after six steps.
    let epsilon = [
        (Sampler::Euler, Spread::Normal, [-3.3336637, -1.0148405, -0.054942347, -4.41752]),
        (Sampler::EulerAncestral, Spread::Normal, [-4.119_603, -1.8441355, 0.26645514, -2.2825434]),
        (Sampler::Ddim, Spread::Normal, [-3.3817956, -1.0294721, -0.055706576, -4.4813104]),
        (Sampler::DpmPp2M, Spread::Karras, [-3.416863, -0.860_608_8, 0.19757612, -4.6116977]),
        (Sampler::DpmPp2M, Spread::Normal, [-3.0377753, -0.80821687, 0.11472921, -4.079_909]),
        (Sampler::Lcm, Spread::Normal, [-5.0981936, -2.7348256, -1.4472765, -2.4634337]),
    ];
    let velocity = [
        (Sampler::Euler, Spread::Normal, [-0.619_275_4, -0.16999698, 0.015985979, -0.82927567]),
        (Sampler::EulerAncestral, Spread::Normal, [-0.55983484, -0.31320295, -0.21274582, 0.079116024]),
        (Sampler::Ddim, Spread::Normal, [-0.62896186, -0.172_634_4, 0.016_266_58, -0.84225696]),
        (Sampler::DpmPp2M, Spread::Karras, [-0.71569437, 0.016364593, 0.31940705, -1.0578711]),
        (Sampler::DpmPp2M, Spread::Normal, [-0.636_347_2, -0.11204741, 0.10499132, -0.88141394]),
        (Sampler::Lcm, Spread::Normal, [-0.952_152_7, -0.1385649, -0.19016983, -0.078_742_45]),
    ];
    for (kind, cases) in [(Prediction::Epsilon, epsilon), (Prediction::Velocity, velocity)] {
        for (sampler, spread, expected) in cases {
            let mut noise = Noise::new(NoiseSource::Cpu, 7).unwrap();
            let network = |step: Step<'_>| {
                let at = (step.timestep / 1000.0).sin() as f32;
                Ok::<_, ()>(step.latents.iter().map(|x| 0.5 * x + at).collect())
            };
            let latents = plan(sampler, spread, 6).run(&mut noise, 16, kind, network).unwrap();
            for (found, expected) in latents.iter().zip(expected) {
                assert!(
                    (found - expected).abs() <= 2e-5,
                    "{sampler:?} {spread:?} {kind:?}: {found} {expected}"
                );
            }
        }
    }
}

#[test]
fn a_network_that_fails_is_not_asked_again() {
    let mut noise = Noise::new(NoiseSource::Nv, 1).unwrap();
    let mut asked = Vec::new();
    let told = plan(Sampler::Euler, Spread::Karras, 9).run(&mut noise, 16, Prediction::Epsilon, |step| {
        asked.push(step.done);
        if step.done == 2 { Err("cancelled") } else { Ok(step.latents.to_vec()) }
    });
    assert_eq!((told, asked), (Err("cancelled"), vec![0, 1, 2]));
}

#[test]
fn names_that_are_none_are_named_with_those_that_are() {
    let told = |sampler: &str, scheduler: &str, steps| {
        Plan::by_name(&Training::default(), sampler, scheduler, steps).map_err(|error| error.to_string())
    };
    let same = |left: (&str, &str), right: (&str, &str)| {
        assert_eq!(told(left.0, left.1, 5).unwrap(), told(right.0, right.1, 5).unwrap());
    };
    same(("dpm++ 2m", "KARRAS"), ("DPM++ 2M", "Karras"));
    same(("Euler a", ""), ("Euler a", "Automatic"));
    same(("Euler a", ""), ("euler A", "Normal"));
    assert_eq!(
        told("UniPC", "", 5).unwrap_err(),
        "there is no sampler \"UniPC\"; there are: DPM++ 2M, Euler, Euler a, DDIM, LCM"
    );
    assert_eq!(
        told("Euler", "Beta", 5).unwrap_err(),
        "there is no scheduler \"Beta\"; there are: Karras, Normal"
    );
    assert_eq!(
        told("LCM", "Karras", 5).unwrap_err(),
        "the sampler LCM has a schedule of its own: name no scheduler, or \"Normal\""
    );
    assert_eq!(told("LCM", "", 51).unwrap_err(), "the sampler LCM takes 1 to 50 steps, not 51");
    assert_eq!(told("Euler", "", 0).unwrap_err(), "the sampler Euler takes 1 to 150 steps, not 0");
}
