#!lua flags=allow-oom
-- key_create: keep a new API key; its secret is known to its bearer alone.
-- KEYS    1 the key's record  2 the index of keys
-- ARGV    2 id  3 digest of the secret  4 tenant  5 scopes (JSON list)  6 expires_at or ''
-- answer  ok | exists
-- caller  client (leasebox keys), API

local record = load(KEYS[1], {'digest'})
if record.digest then return record.digest == ARGV[3] and {'ok'} or {'exists'} end
set(record, 'digest', ARGV[3], 'tenant', ARGV[4], 'scopes', ARGV[5], 'expires_at', ARGV[6], 'created_at', NOW)
write('SADD', KEYS[2], ARGV[2])
commit()
return {'ok'}
