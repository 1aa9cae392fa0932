-- wrk's script of single sends: the customers of BENCH_CUSTOMERS (comma-separated ids) in turn, a new number each time.
-- With BENCH_KEYS (API keys in the customers' order) each send brings its customer's key and an Idempotency-Key of its own.
-- At the end one JSON object on standard error: what wrk counted.
local customers = {}
for id in os.getenv("BENCH_CUSTOMERS"):gmatch("[^,]+") do
  customers[#customers + 1] = id
end
local keys = {}
for key in (os.getenv("BENCH_KEYS") or ""):gmatch("[^,]+") do
  keys[#keys + 1] = "Bearer " .. key
end
local run = os.time()
local headers = { ["Content-Type"] = "application/json" }
local prefixes = { "912", "935", "919", "903", "921" }
local count = 0

function request()
  count = count + 1
  local body = string.format(
    '{"customer_id":"%s","to":"+98%s%07d","text":"Your code is %06d. Do not tell it to anybody.","from":"BENCH"}',
    customers[count % #customers + 1], prefixes[count % #prefixes + 1], count % 10000000, count * 7919 % 1000000)
  if #keys > 0 then
    headers["Authorization"] = keys[count % #keys + 1]
    headers["Idempotency-Key"] = string.format('"%d-%d"', run, count)
  end
  return wrk.format("POST", "/v1/sms/send", headers, body)
end

function done(summary, latency)
  local errors = summary.errors
  io.stderr:write(string.format('{"requests":%d,"microseconds":%d,"p50":%d,"p99":%d,"failed":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.timeout + errors.status))
end
