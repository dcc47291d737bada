import { revalidateTag } from 'next/cache';

/** POST /refresh: the stock has changed. POST /refresh?later: the page is used while a new one is made. */
export async function POST(request) {
  revalidateTag('stock', request.nextUrl.searchParams.has('later') ? 'max' : { expire: 0 });
  return Response.json({ pid: process.pid });
}
