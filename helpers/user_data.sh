# Trains on an EC2 instance with no SageMaker in sight, keeps what it made in S3, and ends its own bill: whatever happens,
# the last thing this instance does is to shut down, and it was launched so that a shutdown terminates it.
# user_data.py puts the values in front: RESULTS CODE DATA WEIGHTS MAX_SECONDS PACKAGES ARGUMENTS AWS_DEFAULT_REGION.

export HOME=/root PYTHONUNBUFFERED=1 AWS_DEFAULT_REGION
LOG=/opt/dogs/training.log
mkdir -p /opt/dogs/{code,data,weights,model,output,checkpoints,results/output,tmp}
cd /opt/dogs || exit 1
RESULTS=$RESULTS/$(cat /var/lib/cloud/data/instance-id)
STARTED=$(date -u +%s)

# The last line of defence, kept by the system itself: even if this script hangs or is killed, the bill ends.
shutdown -h "+$(( MAX_SECONDS / 60 + 60 ))" "the training has taken too long"

status() { # status EXIT_CODE: the facts that outlive the instance
  local name=Failed
  [ "$1" -eq 0 ] && name=Completed
  [ -e timed-out ] && name=Stopped
  printf '{"status": "%s", "exit_code": %d, "started": %d, "finished": %d, "timed_out": %s}\n' \
    "$name" "$1" "$STARTED" "$(date -u +%s)" "$([ -e timed-out ] && echo true || echo false)"
}

finish() {
  local code=$?
  trap - EXIT
  # An upload of the log that is on its way ends first: it would replace the whole log with an earlier one.
  [ -n "${SHIPPER:-}" ] && kill "$SHIPPER" 2>/dev/null && wait "$SHIPPER"
  [ "$code" -eq 0 ] && [ -n "$(ls -A model)" ] && (cd model && tar -czf ../results/output/model.tar.gz -- *)
  [ -n "$(ls -A output)" ] && (cd output && tar -czf ../results/output/output.tar.gz -- *)
  echo "exit code $code after $(( $(date -u +%s) - STARTED )) s; saving to $RESULTS" | tee -a "$LOG"
  cp "$LOG" results/training.log
  aws s3 cp --recursive --only-show-errors results "$RESULTS"
  # Last, so that whoever finds it finds everything else as well.
  status "$code" > status.json
  aws s3 cp --only-show-errors status.json "$RESULTS/status.json"
  shutdown -h now
}
trap finish EXIT
trap 'exit 143' TERM

ship() { # the log, every ten seconds: whoever follows reads it in S3
  trap exit TERM
  while sleep 10 & wait $!; do
    aws s3 cp --only-show-errors "$LOG" "$RESULTS/training.log"
  done
}

prepare() {
  PYTHON=python3
  [ -x /opt/pytorch/bin/python ] && PYTHON=/opt/pytorch/bin/python # a Deep Learning AMI
  if ! "$PYTHON" -c 'import sys; from importlib.util import find_spec as f; sys.exit(not (f("torch") and f("torchvision")))'
  then
    echo "installing PyTorch: this image does not bring it"
    dnf install -y -q python3.12 python3.12-pip && python3.12 -m venv python || return 1
    PYTHON=/opt/dogs/python/bin/python
    # /tmp is in memory on Amazon Linux, and too small for the wheels.
    TMPDIR=/opt/dogs/tmp "$PYTHON" -m pip install --quiet --index-url https://download.pytorch.org/whl/cpu \
      --extra-index-url https://pypi.org/simple "${PACKAGES[@]}" || return 1
  fi
  echo "fetching code, photos and weights"
  aws s3 cp --only-show-errors "$CODE" code.tar.gz && tar -xzf code.tar.gz -C code || return 1
  aws s3 sync --only-show-errors "$DATA" data || return 1
  [ -z "$WEIGHTS" ] || aws s3 sync --only-show-errors "$WEIGHTS" weights || return 1
}

train() {
  local pretrained=()
  [ -z "$WEIGHTS" ] || pretrained=(--pretrained weights)
  "$PYTHON" code/train.py --data data --model-dir model --output-dir output --checkpoint-dir checkpoints \
    "${pretrained[@]}" "${ARGUMENTS[@]}" &
  local training=$! watchdog code
  (
    sleep "$MAX_SECONDS"
    touch timed-out
    echo "time limit of $MAX_SECONDS s: told to stop" >> "$LOG"
    kill -TERM "$training" # it finishes its step and saves what it has
    sleep 120
    kill -KILL "$training"
  ) > /dev/null 2>&1 &
  watchdog=$!
  wait "$training"
  code=$?
  kill "$watchdog" 2> /dev/null
  return "$code"
}

ship > /dev/null 2>&1 &
SHIPPER=$!
set -o pipefail
{ prepare && train; } 2>&1 | tee -a "$LOG"
