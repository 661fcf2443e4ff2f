-- A call and a reply between two coroutines, as skynet's services are inside: for examples/actor_rates.rs.
--     lua5.4 examples/ping_pong.lua 1000000
local count = tonumber(arg[1]) or 1000000
local counter = coroutine.wrap(function()
    local sum = 0
    while true do
        sum = sum + coroutine.yield(sum)
    end
end)
counter()
local begun = os.clock()
local reply
for _ = 1, count do
    reply = counter(1)
end
assert(reply == count)
print(string.format("%d calls between two coroutines: %.0f ns each", count, (os.clock() - begun) * 1e9 / count))
