export const dynamic = 'force-dynamic';

export const GET = () => Response.json({ pid: process.pid, worker: process.env.WORKER_ID });
