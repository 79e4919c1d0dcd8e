#!lua
-- feed: append to the standard input of a job; each writer's chunks once.
-- KEYS    1 the job's record
-- ARGV    2 job  3 tenant  4 writer  5 n, rising by writer  6 data  7 end of input ('1')
--         8 max_bytes not yet taken  9 max_entries not yet taken
-- answer  ok | wrong_state state | full retry_after | gone
-- caller  client

local j = load_job(ARGV[2])
if not j.state or j.tenant ~= ARGV[3] then return {'gone'} end
local field, stdin = 'stdin:' .. ARGV[4], j.key .. K.stdin
local stdin_state = call('HMGET', j.key, field, 'stdin_eof', 'stdin_bytes')
if num(stdin_state[1]) >= num(ARGV[5]) then return {'ok'} end
if j.state == 'finished' or j.stdin_open ~= '1' then return {'wrong_state', j.state} end
if given(stdin_state[2]) then return {'wrong_state', 'eof'} end
local oldest = call('XRANGE', stdin, '-', '+', 'COUNT', 1)[1]
local total = num(stdin_state[3]) + #ARGV[6]
local taken = oldest and num(oldest[2][2]) or num(stdin_state[3])     -- first field: bytes before this entry
if total - taken > num(ARGV[8]) or call('XLEN', stdin) >= num(ARGV[9]) then return {'full', '0.05'} end
write('HSET', j.key, field, ARGV[5], 'stdin_bytes', total, 'stdin_eof', ARGV[7])
write('XADD', stdin, '*', 'at', num(stdin_state[3]), 'data', ARGV[6], 'eof', ARGV[7])
commit()
return {'ok'}
