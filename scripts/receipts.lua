-- wrk's script of MCI's delivery receipts, one a request: of the submits in the file BENCH_RECEIPTS (lines of our reference
-- and the operator's id), each once, in the file's order. If the file is too short, the rest is refused and the run fails.
-- At the end one JSON object on standard error: what wrk counted.
local headers = { ["Content-Type"] = "application/json", ["Authorization"] = "Bearer " .. os.getenv("BENCH_TOKEN") }
local at = os.time() * 1000
local lines

function init()
  lines = io.lines(os.getenv("BENCH_RECEIPTS"))
end

function request()
  local line = lines and lines()
  if not line then
    lines = nil  -- from here on a request that the API refuses, so that the run fails
    return wrk.format("POST", "/v1/operators/mci/receipts", headers, "the file of receipts was too short")
  end
  local reference, id = line:match("^(%S+) (%S+)$")
  local body = string.format(
    '{"reference":"%s","messageId":"%s","status":"DELIVRD","doneAt":%d}', reference, id, at)
  return wrk.format("POST", "/v1/operators/mci/receipts", headers, body)
end

function done(summary, latency)
  local errors = summary.errors
  io.stderr:write(string.format('{"requests":%d,"microseconds":%d,"p50":%d,"p99":%d,"failed":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.timeout + errors.status))
end
