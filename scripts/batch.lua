-- wrk's script of batches: BENCH_SIZE messages each, for the customers of BENCH_CUSTOMERS (comma-separated ids) in turn.
-- A customer's requests are all the same text, made before the clock starts: wrk itself costs next to nothing.
-- With BENCH_KEYS (API keys in the customers' order) each request brings its customer's key; with BENCH_TO (numbers) every
-- message goes to one of these.
local size = tonumber(os.getenv("BENCH_SIZE"))
local recipients = {}
for number in (os.getenv("BENCH_TO") or ""):gmatch("[^,]+") do
  recipients[#recipients + 1] = number
end
local keys = {}
for key in (os.getenv("BENCH_KEYS") or ""):gmatch("[^,]+") do
  keys[#keys + 1] = key
end
local prefixes = { "912", "935", "919", "903", "921" }
local sender = #recipients > 0 and "" or ',"from":"BENCH"'
local requests = {}
local count = 0

function init()
  for id in os.getenv("BENCH_CUSTOMERS"):gmatch("[^,]+") do
    local messages = {}
    for number = 1, size do
      local to = #recipients > 0 and recipients[number % #recipients + 1]
        or string.format("+98%s%07d", prefixes[number % #prefixes + 1], (#requests * size + number) % 10000000)
      messages[number] = string.format(
        '{"to":"%s","text":"Your code is %06d. Do not tell it to anybody."%s}', to, number * 7919 % 1000000, sender)
    end
    local headers = { ["Content-Type"] = "application/json" }
    if #keys > 0 then
      headers["Authorization"] = "Bearer " .. keys[#requests % #keys + 1]
    end
    local body = string.format('{"customer_id":"%s","messages":[%s]}', id, table.concat(messages, ","))
    requests[#requests + 1] = wrk.format("POST", "/v1/sms/batch", headers, body)
  end
end

function request()
  count = count + 1
  return requests[count % #requests + 1]
end

dofile("wrk_done.lua")
