-- What examples/actor_rates.rs measures, with skynet's services.
local skynet = require "skynet"

local COUNT = 300000
local AT_REST = 500

local function calls(pairs_of_services)
    local callers = {}
    for i = 1, pairs_of_services do
        callers[i] = { skynet.newservice("caller"), skynet.newservice("counter") }
    end
    local main, left, begun = coroutine.running(), pairs_of_services, skynet.hpc()
    for _, pair in ipairs(callers) do
        skynet.fork(function()
            skynet.call(pair[1], "lua", pair[2], COUNT // pairs_of_services)
            left = left - 1
            if left == 0 then
                skynet.wakeup(main)
            end
        end)
    end
    skynet.wait(main)
    local each = (skynet.hpc() - begun) / COUNT
    print(string.format("%d calls between %d pairs of services: %.0f ns each", COUNT, pairs_of_services, each))
end

local function sends()
    local counter, begun = skynet.newservice("counter"), skynet.hpc()
    for _ = 1, COUNT do
        skynet.send(counter, "lua", 1)
    end
    skynet.call(counter, "lua", 1)
    print(string.format("%d sends to one service: %.0f ns each", COUNT, (skynet.hpc() - begun) / COUNT))
end

local function resident()
    for line in io.lines("/proc/self/status") do
        local kibibytes = line:match("VmRSS:%s+(%d+)")
        if kibibytes then
            return tonumber(kibibytes) * 1024
        end
    end
end

skynet.start(function()
    calls(1)
    calls(100)
    sends()
    local before = resident()
    for _ = 1, AT_REST do
        skynet.newservice("counter")
    end
    print(string.format("%d services at rest: %.0f bytes each", AT_REST, (resident() - before) / AT_REST))
    os.exit(0)
end)
