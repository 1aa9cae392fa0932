-- wrk's script of MCI's delivery receipts, one a request: of the submits in the file BENCH_RECEIPTS (lines of our reference
-- and the operator's id), each once, in the file's order. If the file is too short, the rest is refused and the run fails.
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

dofile("wrk_done.lua")
