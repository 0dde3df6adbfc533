//! What waits for image models, for the admin API and for `/metrics`.

use fallthrough_diffusion::{BackendState, QueueView};
use fallthrough_gateway::admin::{ModelBackendView, ModelJobView, ModelView};

/// As the admin API shows them.
pub(crate) fn views(queues: Vec<(String, QueueView)>) -> Vec<ModelView> {
    queues.into_iter().map(|(name, queue)| view(name, queue)).collect()
}

fn view(name: String, queue: QueueView) -> ModelView {
    let jobs = queue.jobs.iter().map(|job| ModelJobView {
        place: job.place,
        url: job.backend.and_then(|at| queue.backends.get(at)).map(|backend| backend.address.clone()),
        age_secs: job.age.as_secs_f64(),
        left_secs: job.left.map(|left| left.as_secs_f64()),
    });
    let backends = queue.backends.iter().map(|backend| ModelBackendView {
        url: backend.address.clone(),
        state: backend.state.name().to_owned(),
        why: backend.why.clone(),
        in_flight: backend.in_flight,
        foreign: backend.foreign,
        seconds_per_step_megapixel: backend.secs_per_unit,
        checkpoint: backend.checkpoint.clone(),
        done: backend.done,
        failed: backend.failed,
    });
    ModelView {
        jobs: jobs.collect(),
        backends: backends.collect(),
        name,
        waiting: queue.waiting,
        queue: queue.queue_max,
        shed: queue.shed,
        retry_after_secs: queue.retry_after.as_secs(),
    }
}

/// Tells the recorder of metrics.
#[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
pub(crate) fn tell(queues: &[(String, QueueView)]) {
    for (model, queue) in queues {
        metrics::gauge!("fallthrough_model_queue_length", "model" => model.clone()).set(queue.waiting as f64);
        metrics::counter!("fallthrough_model_shed_total", "model" => model.clone()).absolute(queue.shed);
        for backend in &queue.backends {
            let labels = [("model", model.clone()), ("backend", backend.address.clone())];
            let up = f64::from(u8::from(backend.state == BackendState::Up));
            metrics::gauge!("fallthrough_model_backend_up", &labels).set(up);
            metrics::gauge!("fallthrough_model_backend_in_flight", &labels).set(backend.in_flight as f64);
            if let Some(secs) = backend.secs_per_unit {
                metrics::gauge!("fallthrough_model_backend_seconds_per_step_megapixel", &labels).set(secs);
            }
            for (outcome, count) in [("done", backend.done), ("failed", backend.failed)] {
                let labels = [labels[0].clone(), labels[1].clone(), ("outcome", outcome.to_owned())];
                metrics::counter!("fallthrough_model_jobs_total", &labels).absolute(count);
            }
        }
    }
}
