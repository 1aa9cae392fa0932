-- wrk's script of single sends: the customers of BENCH_CUSTOMERS (comma-separated ids) in turn, a new number each time.
-- With BENCH_KEYS (API keys in the customers' order) each send brings its customer's key and an Idempotency-Key of its own.
-- With BENCH_TO (numbers) every message goes to one of these.
local customers = {}
for id in os.getenv("BENCH_CUSTOMERS"):gmatch("[^,]+") do
  customers[#customers + 1] = id
end
local keys = {}
for key in (os.getenv("BENCH_KEYS") or ""):gmatch("[^,]+") do
  keys[#keys + 1] = "Bearer " .. key
end
local recipients = {}
for number in (os.getenv("BENCH_TO") or ""):gmatch("[^,]+") do
  recipients[#recipients + 1] = number
end
local run = os.time()
local headers = { ["Content-Type"] = "application/json" }
local prefixes = { "912", "935", "919", "903", "921" }
-- A deployment may know other senders: there the customer's default is taken.
local sender = #recipients > 0 and "" or ',"from":"BENCH"'
local count = 0

function request()
  count = count + 1
  local to = #recipients > 0 and recipients[count % #recipients + 1]
    or string.format("+98%s%07d", prefixes[count % #prefixes + 1], count % 10000000)
  local body = string.format(
    '{"customer_id":"%s","to":"%s","text":"Your code is %06d. Do not tell it to anybody."%s}',
    customers[count % #customers + 1], to, count * 7919 % 1000000, sender)
  if #keys > 0 then
    headers["Authorization"] = keys[count % #keys + 1]
    headers["Idempotency-Key"] = string.format('"%d-%d"', run, count)
  end
  return wrk.format("POST", "/v1/sms/send", headers, body)
end

dofile("wrk_done.lua")
