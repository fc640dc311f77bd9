"""Every shell command of the README and the documents, and how we know that it works.

A new command needs an entry here: in ``RUN`` if it takes seconds in a small repository whose pipeline has run, else in ``ELSEWHERE`` under
the test that runs it, else in ``NOT_RUN`` with the reason.
"""

from __future__ import annotations

# Run as written by tests/test_commands.py, document by document, in order: the exit codes that are right. A service runs in the background.
RUN: dict[str, set[int]] = {
    "(awk 1 data/sample/queries.csv; tail -n +2 training-rows.csv) > more.csv": {0},
    "(awk 1 train.csv; tail -n +2 training-rows.csv) > more.csv": {0},
    "cat sorted.csv": {0},
    "dvc checkout": {0},
    "dvc exp show": {0},
    "dvc exp show --only-changed --sort-by train.json:validation_accuracy --sort-order desc": {0},
    "dvc metrics diff": {0},
    "dvc metrics show metrics/data.json metrics/features.json": {0},
    "dvc metrics show metrics/export.json metrics/abstention.json": {0},
    "dvc plots diff": {0},
    "dvc repro": {0},
    "dvc repro export": {0},
    "git checkout .": {0},
    'git commit --allow-empty --all --message "My first run"': {0},
    "make docs": {0},
    "make report": {0},
    "make repro": {0},
    "make serve": {0},
    "python -m pipeline.audit --output build/march": {0},
    "python -m pipeline.drift new.csv": {0, 1},
    "python -m pipeline.drift new.jsonl --text-column body --output build/march": {0, 1},
    "python -m pipeline.report --base HEAD~1": {0},
    "python -m pipeline.report --fail-on-regression": {0, 1},
    "python -m pipeline.score 'inbox/2026-*.csv' answers/ --format parquet": {0},
    "python -m pipeline.score in.parquet out.parquet": {0},
    "python -m pipeline.score in.parquet out.parquet --workers 2": {0},
    "python -m pipeline.score inbox.csv sorted.csv": {0},
    "python -m pipeline.score inbox/ answers/ --workers 2": {0},
    "source .venv/bin/activate": {0},
}
# What begins so is run as well: files that a document writes, requests to the service.
RUN_IF_BEGINS = ("cat > ", "curl http://127.0.0.1:8080/")

_PIPELINE, _MERGE = "test_pipeline.py::test_all_stages_run_in_order_on_a_users_own_csv", "test_resolve_lock.py::test_a_merge_ends_with"
_QUEUE, _WALK = "test_pipeline.py::test_a_queued_sweep_runs_shows_and_applies", "test_workflows.py::test_the_walk_through_goes_from"
_HARD = "test_pipeline.py::test_a_student_can_do_without_its_teachers"
_CI, _PROCESSES = ".ci/run", "test_processes.py::test_two_processes_have_the_loss_curve_of_one"
# The test that runs it, perhaps with other values, by the beginning of its name; or a script whose line it is.
ELSEWHERE: dict[str, str] = {
    "make params": "test_structure.py::test_committed_params_are_the_composition_of_configs",
    "make test": _CI,
    "make verify": _CI,
    "dvc exp apply EXPERIMENT": _QUEUE,
    "dvc exp run --queue -S 'train.seed=1,2,3'": _QUEUE,
    "dvc exp run --queue -S 'train.seed=1,2,3' -S 'train.learning_rate=0.0005,0.001'": _QUEUE,
    "dvc queue start -j 1": _QUEUE,
    "dvc queue status": _QUEUE,
    "dvc exp run -S data=csv -S fetch.train=$PWD/more.csv": _PIPELINE,
    "dvc exp run -S fetch.train=$PWD/more.csv": _PIPELINE,
    "dvc exp run -S data=csv -S fetch.train=/path/to/train.csv -S evaluate.out_of_scope=/path/to/other_mail.csv": _PIPELINE,
    "dvc exp run -S data=csv -S fetch.train=/path/to/train.csv -S fetch.text_column=message -S fetch.label_column=team": _PIPELINE,
    "dvc exp run -S experiment=no_teacher": _HARD,
    "dvc exp run -S student=scratch": _HARD,
    "dvc exp run -S train.learning_rate=1e-4": _WALK,
    "python -m pipeline.serve --model models/onnx": "test_serve.py::test_the_pipelines_own_model_answers_as_it_was_evaluated",
    "dvc exp run -S 'train.report_to=[dvclive,wandb]'": "test_trackers.py::test_the_student_is_the_same_bytes",
    "dvc exp run -S data=csv -S fetch.train=/path/to/train.csv -S prepare.mask_personal_data=true": (
        "test_audit.py::test_masked_rows_are_compared_as_masked"
    ),
    "make audit": "test_audit.py::test_the_summary_is_printed_and_the_pictures_are_there",
    "make publish": "test_publish.py::test_a_dry_run_shows_every_file",
    "make publish REPO=user/name PUSH=1": "test_publish.py::test_what_is_published_loads",
    "python -m pipeline.card": "test_publish.py::test_the_card_tells_the_runs_own_figures",
    "make sweep": "test_sweep.py::test_two_workers_teach_real_students",
    "python -m pipeline.sweep --study banking --trials 100 -S data=banking77": "test_sweep.py::test_two_workers_share_a_study",
    "wandb sync build/wandb/offline-run-*": "test_trackers.py::test_a_run_offline_is_read_back_and_syncs",
    "git merge other": _MERGE,
    "make resolve-lock": _MERGE,
    "git commit": _MERGE,
    "git diff --cached HEAD": _MERGE,
    "git status": _MERGE,
    **dict.fromkeys(
        [
            "git switch main",
            "dvc exp run --name faster -S train.learning_rate=0.001",
            "python -m pipeline.report --base main",
            "dvc exp show --only-changed",
            "dvc exp push --no-cache origin faster",
            "dvc exp list origin",
            "dvc exp branch faster try-faster",
            "git switch --force try-faster",
            "perl -pi -e 's/learning_rate: 0.0005/learning_rate: 0.001/' configs/config.yaml",
            "git diff --exit-code params.yaml",
            "make docs tour",
            'git commit --all --message "The value in configs/, documents and notebook of the run"',
            "git push --set-upstream origin try-faster",
        ],
        _WALK,
    ),
    "git fetch origin": "test_workflows.py::test_the_results_of_a_run_are_committed_whole",
    "git merge origin/main": "test_workflows.py::test_the_results_of_a_run_are_committed_whole",
    "git apply --index results.patch": "test_workflows.py::test_the_results_of_a_run_are_committed_whole",
    'git commit --message "Results"': "test_workflows.py::test_the_results_of_a_run_are_committed_whole",
    "git push": "test_workflows.py::test_the_results_of_a_run_are_committed_whole",
    "torchrun --nproc-per-node 2 -m pipeline.train --features data/features --soft-targets data/soft_targets --teacher models/teacher "
    "--student-encoder data/raw/student_encoder --model models/tinybert --metrics metrics/train.json --machine metrics/machine.json "
    "--plots plots/train": _PROCESSES,
    "make remote BUCKET=gs://NAME/FOLDER": "test_remote.py::test_pushed_and_pulled_outputs_are_identical",
    "python -m pipeline.remote check && dvc push && python -m pipeline.remote verify": (
        "test_remote.py::test_pushed_and_pulled_outputs_are_identical"
    ),
}

_GPU = "needs a GPU; tests/test_levers.py runs it on a CPU"
_GOOGLE, _ENGINE = "needs a project on Google Cloud, and costs money", "needs a container engine; tests/test_images.py follows its steps"
# Why no test runs it. A name that ends in " *" stands for all that begin so.
NOT_RUN: dict[str, str] = {
    "cd tinybert-intents": "goes with the clone before it",
    "git clone https://github.com/OWNER/NAME tinybert-intents": "the address is the reader's",
    'git commit -m "Our bucket" .dvc/config': "stands after a bucket that is the reader's",
    "pytest tests/test_structure.py tests/test_documents.py": "a part of `make test`",
    'git commit -am "a run"': "a step between two that are tested",
    'git commit --all --message "The lock of another class of machine"': "a step between two that are tested",
    "dvc repro --force": "the whole pipeline on the sample; `make verify` runs as much in a clone",
    "export SWEEP_STORAGE=postgresql+psycopg://sweeps@db.example.org/sweeps": "needs a database server; the tests share a file of SQLite",
    "hf auth login": "needs an account; the tests publish to a hub of their own with a token",
    "wandb login": "needs an account; the tests run offline and against a service of their own",
    "pip install ray==2.60.0": "an extra of hundreds of megabytes that changes the environment",
    "python -m pipeline.score inbox/ answers/ --ray --workers 2": "needs Ray; where it is installed, tests/test_ray_scoring.py runs it",
    "RAY_ADDRESS=ray-head:6379 python -m pipeline.score /mnt/inbox /mnt/answers --ray --workers 64": "needs machines of a cluster",
    "dvc exp remove --queue": "empties the queue that another test fills",
    "dvc commit train": "stands after a training by hand",
    "dvc exp run -S data=banking77": "brings the benchmark and takes half an hour; `make banking77` does both",
    "dvc exp run -S data=banking77 -S experiment=long -S teach.device=cuda": "needs a GPU; without one it is a line, which is tested",
    "python -m benchmarks.levers *": _GPU,
    "gcloud *": _GOOGLE,
    "PROJECT=$(gcloud *": _GOOGLE,
    "NUMBER=$(gcloud *": _GOOGLE,
    "for role in roles/storage.objectViewer *": _GOOGLE,
    "docker *": _ENGINE,
    "printf %s *": _GOOGLE,
}
